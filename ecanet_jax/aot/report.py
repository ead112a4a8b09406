"""What a compiled program costs, by its compiler's own figures, and what is wrong with it."""

import collections
import dataclasses
import re
from typing import Any

from ecanet_jax.aot.hlo import Hlo, Instruction, parse
from ecanet_jax.aot.program import Program
from ecanet_jax.aot.topologies import chip_of

LANES = 128  # a TPU computes with so many images side by side
KINDS = (
  'convolution, forward', 'convolution, backward', 'depthwise, forward', 'depthwise, backward',
  'BatchNorm', 'attention', 'copies', 'rest',
)
COLLECTIVES = (
  'all-reduce', 'all-gather', 'all-to-all', 'reduce-scatter', 'collective-permute',
  'collective-broadcast',
)
COPIES = {'copy', 'reshape', 'transpose'}
# What a fusion that only moves data may have inside as well.
BESIDE_COPIES = {
  'bitcast', 'broadcast', 'constant', 'convert', 'get-tuple-element', 'parameter', 'slice', 'tuple'
}
LARGEST = 5  # copies that are listed


@dataclasses.dataclass(frozen=True)
class Collective:
  """The collective operations of one kind and type. Sizes are bytes on one chip."""

  kind: str
  dtype: str
  count: int
  bytes: int
  largest: int


@dataclasses.dataclass(frozen=True)
class Report:
  """The compiler's figures for one chip. None is a measurement.

  Attributes:
    topology: that the program is compiled for.
    step: 'train' or 'eval'.
    chips: number of chips.
    batch_size: images of all chips in one step.
    image_size: in pixels.
    memory: bytes of HBM by what fills them; see `Program`.
    hbm: bytes of HBM that a program can have.
    flops: floating-point operations.
    bytes_accessed: of all operations, also in the chip's faster memory.
    cycles: by kind, a key of `KINDS`. A fusion belongs to the operation that it is named after.
    loops: how often each loop runs; 0 = not known, and its cycles are counted once. FLOPs and
      bytes count every loop once.
    collectives: by kind and type.
    copies: number and bytes of all operations that only move data.
    largest_copies: text of the largest of them.
    custom_calls: number by target.
    roofline: seconds that the FLOPs take at the chip's peak, and the bytes at its bandwidth.
    seconds: the cycles at the chip's clock, without time in the network.
    warnings: what makes the program slow, one line each.
    faults: what keeps it from being of use, one line each.
    compile_seconds: on this machine.
  """

  topology: str
  step: str
  chips: int
  batch_size: int
  image_size: int
  memory: dict[str, int]
  hbm: int
  flops: float
  bytes_accessed: float
  cycles: dict[str, int]
  loops: list[int]
  collectives: list[Collective]
  copies: dict[str, int]
  largest_copies: list[str]
  custom_calls: dict[str, int]
  roofline: dict[str, float]
  seconds: float
  warnings: list[str]
  faults: list[str]
  compile_seconds: float

  @property
  def images_per_second(self) -> float:
    """An estimate for one chip, from the cycles; it leaves out network and input."""
    return self.batch_size / self.chips / self.seconds if self.seconds else 0.0

  def to_json(self) -> dict[str, Any]:
    """All figures, with the note that they are no measurements."""
    return {
      'source': 'from the compiled program, not from a device', **dataclasses.asdict(self),
      'estimated_images_per_second_per_chip': self.images_per_second,
    }


def make_report(program: Program) -> Report:
  """Reads the figures out of a compiled program."""
  hlo, chip = parse(program.text), chip_of(program.topology)
  cycles, moved, loops = dict.fromkeys(KINDS, 0), [], []
  for instruction, times in hlo.scheduled():
    cycles[kind_of(hlo, instruction)] += times * instruction.cycles
    if instruction.opcode == 'while':
      loops.append(hlo.trips(instruction))
    if is_copy(hlo, instruction):
      moved.append((times * instruction.bytes, instruction))
  moved.sort(key=lambda entry: -entry[0])
  return Report(
    topology=program.topology, step=program.step, chips=program.chips,
    batch_size=program.batch_size, image_size=program.image_size, memory=program.memory,
    hbm=chip.hbm, flops=program.flops, bytes_accessed=program.bytes_accessed, cycles=cycles,
    loops=loops, collectives=collectives(hlo),
    copies={'count': len(moved), 'bytes': sum(size for size, _ in moved)},
    largest_copies=[_describe(instruction) for _, instruction in moved[:LARGEST]],
    custom_calls=custom_calls(hlo),
    roofline={
      'flops': program.flops / chip.flops, 'bytes': program.bytes_accessed / chip.bandwidth
    },
    seconds=sum(cycles.values()) / chip.clock,
    warnings=batch_warnings(program.batch_size, program.chips),
    faults=batch_gathers(hlo, program.batch_size), compile_seconds=program.seconds,
  )


def kind_of(hlo: Hlo, instruction: Instruction) -> str:
  """The kind of an instruction, one of `KINDS`, by the layer that JAX names it after."""
  if is_copy(hlo, instruction):
    return 'copies'
  *path, operation = instruction.op_name.partition(';')[0].split('/')
  if any(part.startswith('attention') for part in path):
    return 'attention'
  if any(part.endswith('_bn') for part in path):
    return 'BatchNorm'
  if operation not in ('conv_general_dilated', 'dot_general'):
    return 'rest'
  layer = 'depthwise' if any('depthwise' in part for part in path) else 'convolution'
  backward = any(part.startswith('transpose(') for part in path)
  return f'{layer}, {"backward" if backward else "forward"}'


def is_copy(hlo: Hlo, instruction: Instruction) -> bool:
  """Whether an instruction only moves data, to another place or another layout."""
  opcodes = hlo.opcodes(instruction)
  return bool(opcodes & COPIES) and opcodes <= COPIES | BESIDE_COPIES


def collectives(hlo: Hlo) -> list[Collective]:
  """The collective operations by kind and type of their first array, the most bytes first.

  One in a loop counts once.
  """
  found = collections.defaultdict(list)
  for instruction in _collectives(hlo):
    dtype = instruction.arrays[0][0] if instruction.arrays else ''
    found[instruction.opcode.removesuffix('-start'), dtype].append(instruction.bytes)
  groups = [
    Collective(kind, dtype, len(sizes), sum(sizes), max(sizes))
    for (kind, dtype), sizes in found.items()
  ]
  return sorted(groups, key=lambda group: -group.bytes)


def _collectives(hlo: Hlo) -> list[Instruction]:
  """The collective operations. An asynchronous one has several instructions with one channel."""
  found = {}
  for instruction in hlo.all():
    if instruction.opcode.removesuffix('-start') in COLLECTIVES:
      found.setdefault(instruction.channel or instruction.name, instruction)
  return list(found.values())


def custom_calls(hlo: Hlo) -> dict[str, int]:
  """How many custom calls there are, by target."""
  return dict(collections.Counter(each.target for each in hlo.all() if each.target))


def batch_gathers(hlo: Hlo, batch_size: int) -> list[str]:
  """A line for each array of the whole batch that every chip gathers; labels `[batch]` may be."""
  return [
    f'the batch is gathered: {_describe(instruction)}'
    for instruction in _collectives(hlo) if instruction.opcode.startswith('all-gather')
    if any(len(shape) > 1 and batch_size in shape for _, shape in instruction.arrays)
  ]


def batch_warnings(batch_size: int, chips: int) -> list[str]:
  """The warning that a chip's images do not fill its lanes, with a batch that would; [] if not."""
  images = batch_size // chips
  if images % LANES == 0:
    return []
  whole = -(-images // LANES) * LANES * chips
  return [
    f'{images} images a chip are no multiple of {LANES}, and the lanes of a chip are not filled: '
    f'--config.batch_size={whole} would fill them.'
  ]


def lines(report: Report) -> list[str]:
  """The report as text. Faults are not in it."""
  giga, milli, mega = 1e9, 1e-3, 1e6
  total = max(sum(report.cycles.values()), 1)
  memory = ', '.join(
    f'{name} {report.memory[name] / giga:.3f}'
    for name in ('arguments', 'outputs', 'temporaries', 'aliased')
  )
  text = [
    'From the compiled program, not from a device. All figures are for one chip and one step.',
    f'program      {report.step} on {report.topology}, {report.batch_size // report.chips} of '
    f'{report.batch_size} images, {report.image_size} px '
    f'(compiled in {report.compile_seconds:.0f} s)',
    f'HBM peak     {report.memory["peak"] / giga:.3f} of {report.hbm / giga:.1f} GB ({memory})',
    f'work         {report.flops / 1e12:.3f} TFLOP, {report.bytes_accessed / giga:.2f} GB accessed',
    f'roofline     {report.roofline["flops"] / milli:.2f} ms by FLOPs, '
    f'{report.roofline["bytes"] / milli:.2f} ms by bytes',
    f'estimate     {report.seconds / milli:.2f} ms, {report.images_per_second:,.0f} images/s a '
    'chip, without network and input',
    f'cycles       {total / mega:.3f} million',
    *(f'  {kind:<24}{count / mega:>10.3f}{100 * count / total:>7.1f} %'
      for kind, count in report.cycles.items()),
    f'copies       {report.copies["count"]}, {_size(report.copies["bytes"])}',
    *(f'  {each}' for each in report.largest_copies),
    f'collectives  {sum(group.count for group in report.collectives)}',
    *(f'  {group.count} x {group.kind} {group.dtype}, {_size(group.bytes)}, the largest '
      f'{_size(group.largest)}' for group in report.collectives),
  ]
  if report.custom_calls:
    calls = ', '.join(f'{count} x {name}' for name, count in sorted(report.custom_calls.items()))
    text.append(f'custom calls {calls}')
  if report.loops:
    runs = ', '.join(str(times) if times else 'an unknown number' for times in report.loops)
    text.append(
      f'loops        {len(report.loops)}, times: {runs}. TFLOP and GB count each once; so do the '
      'cycles where the number is unknown.'
    )
  return text + [f'warning: {each}' for each in report.warnings]


def _describe(instruction: Instruction) -> str:
  """Opcode, shape without layouts, and JAX's name of an instruction."""
  shape = re.sub(r'\{[^}]*\}', '', instruction.shape)
  name = instruction.op_name or instruction.name
  return f'{instruction.opcode} {shape} ({_size(instruction.bytes)}) {name}'


def _size(count: int) -> str:
  """Bytes with the unit that fits."""
  for unit, size in (('GB', 1e9), ('MB', 1e6), ('kB', 1e3)):
    if count >= size:
      return f'{count / size:.2f} {unit}'
  return f'{count} B'

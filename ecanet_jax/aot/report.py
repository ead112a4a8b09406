"""What a compiled program costs, by its compiler's own figures, and what is wrong with it."""

import collections
import dataclasses
from typing import Any

from ecanet_jax.aot.hlo import Hlo, Instruction, describe, in_units, parse
from ecanet_jax.aot.program import Program
from ecanet_jax.aot.topologies import chip_of
from ecanet_jax.detection.from_config import is_detector

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
LARGEST = 5  # copies, and arrays in HBM, that are listed
SMALL = 10**6  # bytes; a GPU needs longer to start a fusion that writes less than to run it
# Instructions that give another view of an array.
VIEWS = {'bitcast', 'get-tuple-element', 'parameter', 'tuple'}


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
    network: its registered name.
    topology: that the program is compiled for.
    step: 'train' or 'eval'.
    compute_dtype: of the network.
    chips: number of chips.
    batch_size: images of all chips in one step.
    image_size: in pixels; height and width where they differ.
    memory: bytes of HBM by what fills them; see `Program`.
    largest_arrays: text of the largest arrays that operations write to HBM. Those of different
      moments may have the same place.
    hbm: bytes of HBM that a program can have.
    flops: floating-point operations.
    bytes_accessed: of all operations, also in the chip's faster memory.
    cycles: by kind, a key of `KINDS`. A fusion belongs to the operation that it is named after.
      Empty if the compiler estimates none, as that of GPUs.
    fusions: number of operations that compute several in one pass, and of those that write less
      than `SMALL`.
    loops: how often each loop runs; 0 = not known, and its cycles are counted once. FLOPs and
      bytes count every loop once.
    collectives: by kind and type.
    copies: number and bytes of all operations that only move data, and bytes of the largest.
    largest_copies: text of the largest of them.
    custom_calls: number by target.
    roofline: seconds that the FLOPs take at the chip's peak, and the bytes at its bandwidth.
    seconds: the cycles at the chip's clock, without time in the network; None without cycles.
    warnings: what makes the program slow, one line each.
    faults: what keeps it from being of use, one line each.
    versions: of JAX and of the compiler's package.
    compile_seconds: on this machine.
  """

  network: str
  topology: str
  step: str
  compute_dtype: str
  chips: int
  batch_size: int
  image_size: int | tuple[int, int]
  memory: dict[str, int]
  largest_arrays: list[str]
  hbm: int
  flops: float
  bytes_accessed: float
  cycles: dict[str, int]
  fusions: dict[str, int]
  loops: list[int]
  collectives: list[Collective]
  copies: dict[str, int]
  largest_copies: list[str]
  custom_calls: dict[str, int]
  roofline: dict[str, float]
  seconds: float | None
  warnings: list[str]
  faults: list[str]
  versions: dict[str, str]
  compile_seconds: float

  @property
  def images_per_second(self) -> float | None:
    """An estimate for one chip, from the cycles; it leaves out network and input."""
    return self.batch_size / self.chips / self.seconds if self.seconds else None

  @property
  def roofline_images_per_second(self) -> float:
    """What one chip would do if the larger of the two times of the roofline were all."""
    return self.batch_size / self.chips / max(self.roofline.values())

  def to_json(self) -> dict[str, Any]:
    """All figures, with the note that they are no measurements."""
    return {
      'source': 'from the compiled program, not from a device', **dataclasses.asdict(self),
      'estimated_images_per_second_per_chip': self.images_per_second,
      'roofline_images_per_second_per_chip': self.roofline_images_per_second,
    }


def make_report(program: Program) -> Report:
  """Reads the figures out of a compiled program."""
  hlo, chip = parse(program.text), chip_of(program.topology)
  cycles, moved, loops, fusions = dict.fromkeys(KINDS, 0), [], [], {'count': 0, 'small': 0}
  for instruction, times in hlo.scheduled():
    cycles[kind_of(hlo, instruction)] += times * instruction.cycles
    if instruction.opcode == 'while':
      loops.append(hlo.trips(instruction))
    if instruction.opcode == 'fusion':
      fusions['count'] += times
      fusions['small'] += times * (instruction.bytes < SMALL)
    if is_copy(hlo, instruction):
      moved.append((times * instruction.bytes, instruction))
  moved.sort(key=lambda entry: -entry[0])
  total, detector = sum(cycles.values()), is_detector(program.network)
  return Report(
    network=program.network, topology=program.topology, step=program.step,
    compute_dtype=program.compute_dtype, chips=program.chips, batch_size=program.batch_size,
    image_size=program.image_size, memory=program.memory, largest_arrays=largest_arrays(hlo),
    hbm=chip.hbm, flops=program.flops, bytes_accessed=program.bytes_accessed,
    cycles=cycles if total else {}, fusions=fusions, loops=loops,
    collectives=collectives(hlo),
    copies={
      'count': len(moved), 'bytes': sum(size for size, _ in moved),
      'largest': moved[0][0] if moved else 0,
    },
    largest_copies=[describe(instruction) for _, instruction in moved[:LARGEST]],
    custom_calls=custom_calls(hlo),
    roofline={
      'flops': program.flops / chip.flops, 'bytes': program.bytes_accessed / chip.bandwidth
    },
    seconds=total / chip.clock if total else None,
    warnings=[] if detector else batch_warnings(program.batch_size, program.chips, chip.lanes),
    faults=batch_gathers(hlo, program.batch_size, detector and program.step == 'eval'),
    versions=program.versions,
    compile_seconds=program.seconds,
  )


def largest_arrays(hlo: Hlo) -> list[str]:
  """The largest arrays that operations write to HBM, with how many there are and of which kinds."""
  found = collections.defaultdict(list)
  for instruction, _ in hlo.scheduled():
    if instruction.opcode not in VIEWS:
      for size, text in instruction.in_hbm:
        found[size, text].append(kind_of(hlo, instruction))
  return [
    f'{len(kinds)} x {text}, {in_units(size)} each: {"; ".join(sorted(set(kinds)))}'
    for (size, text), kinds in sorted(found.items(), reverse=True)[:LARGEST]
  ]


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


def batch_gathers(hlo: Hlo, batch_size: int, results: bool = False) -> list[str]:
  """A line for each array of the whole batch that every chip gathers; labels `[batch]` may be.

  Args:
    hlo: the program.
    batch_size: images of all chips.
    results: what the program returns may be gathered, too, such as detections.
  """
  allowed = hlo.results() if results else set()
  return [
    f'the batch is gathered: {describe(instruction)}'
    for instruction in _collectives(hlo) if instruction.opcode.startswith('all-gather')
    if any(len(shape) > 1 and batch_size in shape and (kind, shape) not in allowed
           for kind, shape in instruction.arrays)
  ]


def batch_warnings(batch_size: int, chips: int, lanes: int) -> list[str]:
  """The warning that a chip's images do not fill its lanes, with a batch that would; [] if not."""
  images = batch_size // chips
  if images % lanes == 0:
    return []
  whole = -(-images // lanes) * lanes * chips
  return [
    f'{images} images a chip are no multiple of {lanes}, and the lanes of a chip are not filled: '
    f'--config.batch_size={whole} would fill them.'
  ]

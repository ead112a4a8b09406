"""Reads the text of a compiled program: optimised HLO, as XLA prints it.

A program is a list of computations. The entry calls the others: a fusion computes one of them in
one pass, a loop computes one several times.
"""

import dataclasses
import math
import re
from collections.abc import Iterator

BYTES = {
  'pred': 1, 's8': 1, 'u8': 1, 's16': 2, 'u16': 2, 'f16': 2, 'bf16': 2, 's32': 4, 'u32': 4,
  'f32': 4, 's64': 8, 'u64': 8, 'f64': 8, 'c64': 8, 'c128': 16,
}  # of one element; other types, such as tokens, have none
# In an HLO type each array is TYPE[DIMENSIONS]; what follows in braces is its layout.
_ARRAY = re.compile(r'\b([a-z]+\d*)\[([\d,]*)\]')
_PLACED = re.compile(r'\b([a-z]+\d*\[[\d,]*\])(?:\{([^}]*)\})?')
_INSTRUCTION = re.compile(r'\s+(ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)')
_COMPUTATION = re.compile(r'(ENTRY )?%?([\w.\-]+) \(.*\{$')
_CALLED = re.compile(r'\b(?:calls|body|to_apply|true_computation|false_computation)=%?([\w.\-]+)')


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line of a computation.

  Attributes:
    name: unique in the program.
    opcode: such as 'fusion', 'all-reduce', 'copy'.
    shape: the type of the result, such as 'bf16[256,56,56,24]{0,3,2,1}', or several in parentheses.
    root: it gives the result of its computation.
    rest: operands and attributes, unparsed.
  """

  name: str
  opcode: str
  shape: str
  root: bool
  rest: str

  @property
  def arrays(self) -> list[tuple[str, tuple[int, ...]]]:
    """Type and dimensions of every array of the result."""
    return [
      (kind, tuple(int(number) for number in dimensions.split(',') if number))
      for kind, dimensions in _ARRAY.findall(self.shape) if kind in BYTES
    ]

  @property
  def bytes(self) -> int:
    """Size of the result."""
    return sum(BYTES[kind] * math.prod(dimensions) for kind, dimensions in self.arrays)

  @property
  def in_hbm(self) -> list[tuple[int, str]]:
    """Size and type, such as 'bf16[256,56,56,24]', of each array of the result that is in HBM.

    The layout of others names the memory that they are in, such as S(1).
    """
    found = []
    for text, layout in _PLACED.findall(self.shape):
      kind, _, dimensions = text.rstrip(']').partition('[')
      if kind in BYTES and 'S(' not in layout:
        count = math.prod(int(number) for number in dimensions.split(',') if number)
        found.append((BYTES[kind] * count, text))
    return found

  @property
  def op_name(self) -> str:
    """JAX's name of the operation: transformations, modules, operation; '' where there is none."""
    return self._found(r'op_name="([^"]*)"')

  @property
  def cycles(self) -> int:
    """The compiler's estimate; 0 where it has none."""
    return int(self._found(r'"estimated_cycles":"(\d+)"') or 0)

  @property
  def channel(self) -> str:
    """Number of a collective operation; '' for others."""
    return self._found(r'channel_id=(\d+)')

  @property
  def target(self) -> str:
    """The function that a custom call calls, else ''."""
    return self._found(r'custom_call_target="([^"]*)"')

  @property
  def condition(self) -> str:
    """The computation that ends a loop; '' for an instruction that is no loop."""
    return self._found(r'condition=%?([\w.\-]+)')

  @property
  def called(self) -> list[str]:
    """The computations that it calls."""
    branches = self._found(r'branch_computations=\{([^}]*)\}')
    return _CALLED.findall(self.rest) + re.findall(r'%?([\w.\-]+)', branches)

  def _found(self, pattern: str) -> str:
    match = re.search(pattern, self.rest)
    return match[1] if match else ''


@dataclasses.dataclass(frozen=True)
class Hlo:
  """A parsed program.

  Attributes:
    computations: the instructions of each, by its name.
    entry: the name of the first.
  """

  computations: dict[str, list[Instruction]]
  entry: str

  def all(self) -> Iterator[Instruction]:
    """The instructions of all computations."""
    for instructions in self.computations.values():
      yield from instructions

  def results(self) -> set[tuple[str, tuple[int, ...]]]:
    """Type and dimensions of every array that the program returns."""
    return {
      array for instruction in self.computations.get(self.entry, []) if instruction.root
      for array in instruction.arrays
    }

  def scheduled(self) -> Iterator[tuple[Instruction, int]]:
    """What a chip does in turn, and how often: the entry, and the bodies of its loops and calls.

    What a fusion computes inside is not listed. A loop of unknown length counts once.
    """
    yield from self._scheduled(self.entry, 1)

  def _scheduled(self, name: str, times: int) -> Iterator[tuple[Instruction, int]]:
    for instruction in self.computations.get(name, []):
      yield instruction, times
      if instruction.opcode in ('while', 'call', 'conditional'):
        for called in instruction.called:
          yield from self._scheduled(called, times * max(self.trips(instruction), 1))

  def trips(self, loop: Instruction) -> int:
    """How often a loop of `jax.lax.scan` runs: the number that its counter stays below.

    Returns:
      0 for a loop that ends in another way, and for an instruction that is no loop.
    """
    body = {each.name: each for each in self.computations.get(loop.condition, [])}
    for compare in body.values():
      if compare.root and compare.opcode == 'compare' and 'direction=LT' in compare.rest:
        for name in re.findall(r'%?([\w.\-]+)', compare.rest.partition(')')[0]):
          if name in body and body[name].opcode == 'constant':
            return int(body[name].rest.partition(')')[0])
    return 0

  def opcodes(self, instruction: Instruction) -> set[str]:
    """What an instruction computes: its own opcode, or of a fusion those inside."""
    if instruction.opcode != 'fusion':
      return {instruction.opcode}
    return {inner.opcode for inner in self.computations.get(instruction.called[0], [])}


def parse(text: str) -> Hlo:
  """Parses the text of a compiled program."""
  computations: dict[str, list[Instruction]] = {}
  entry, current = '', []
  for line in text.splitlines():
    if match := _INSTRUCTION.match(line):
      root, name, shape, opcode, rest = match.groups()
      current.append(Instruction(name, opcode, shape, bool(root), rest))
    elif match := _COMPUTATION.match(line):
      current = computations.setdefault(match[2], [])
      entry = match[2] if match[1] else entry
  return Hlo(computations, entry)


def describe(instruction: Instruction) -> str:
  """Opcode, shape without layouts, and JAX's name of an instruction."""
  shape = re.sub(r'\{[^}]*\}', '', instruction.shape)
  name = instruction.op_name or instruction.name
  return f'{instruction.opcode} {shape} ({in_units(instruction.bytes)}) {name}'


def in_units(count: int) -> str:
  """Bytes with the unit that fits."""
  for unit, size in (('GB', 1e9), ('MB', 1e6), ('kB', 1e3)):
    if count >= size:
      return f'{count / size:.2f} {unit}'
  return f'{count} B'

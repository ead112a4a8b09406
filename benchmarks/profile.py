"""Where the time of a compiled program goes, by class of operation.

The profiler gives the time of every HLO operation by name. The compiled program's text gives the
operation's opcode, the computation that a fusion calls, and the path of the layer.
"""

import collections
import pathlib
import re

CLASSES = (
  'depthwise convolution', 'matrix products', 'other convolutions', 'reductions', 'element-wise',
  'copies and transposes', 'other',
)
_INSTRUCTION = re.compile(r'^\s*(?:ROOT )?%?([\w.\-]+) = .*?[\]})] ([a-z][\w\-]*)\(')
_COMPUTATION = re.compile(r'^(?:ENTRY )?%?([\w.\-]+) \(.*\{$')
_CALLED = re.compile(r'(?:calls|to_apply)=%?([\w.\-]+)')
_OP_NAME = re.compile(r'op_name="([^"]*)"')
_GROUPS = re.compile(r'(?:feature|batch)_group_count=')

_COPIES = frozenset((
  'copy', 'transpose', 'reshape', 'slice', 'dynamic-slice', 'dynamic-update-slice', 'pad',
  'concatenate', 'gather', 'scatter', 'reverse', 'copy-start', 'copy-done',
))
_REDUCTIONS = frozenset(('reduce', 'reduce-window', 'select-and-scatter', 'all-reduce'))
_NOTHING = frozenset((
  'parameter', 'constant', 'bitcast', 'tuple', 'get-tuple-element', 'broadcast', 'iota', 'convert',
))
_CONTAINERS = frozenset(('while', 'call', 'conditional', 'async-start', 'async-done'))


def operation_classes(hlo: str) -> dict[str, str]:
  """The class of every operation of a compiled program's text, by name.

  Operations that only contain others (loops, calls) have the class ''; their parts are counted.
  """
  opcodes = collections.defaultdict(set)  # of every computation
  instructions, computation = {}, ''
  for line in hlo.splitlines():
    if found := _COMPUTATION.match(line):
      computation = found[1]
    elif found := _INSTRUCTION.match(line):
      name, opcode = found.groups()
      called, path = _CALLED.search(line), _OP_NAME.search(line)
      grouped = opcode == 'convolution' and bool(_GROUPS.search(line))
      opcodes[computation].add('depthwise' if grouped else opcode)
      instructions[name] = (
        opcode, called[1] if called else '', path[1] if path else '', grouped, line
      )
  return {
    name: _class(opcode, opcodes[called] if opcode == 'fusion' else {opcode}, path, grouped, line)
    for name, (opcode, called, path, grouped, line) in instructions.items()
  }


def _class(opcode: str, inside: set[str], path: str, grouped: bool, line: str) -> str:
  if opcode in _CONTAINERS:
    return ''
  if grouped or 'depthwise' in inside or 'depthwise' in path.split('/'):
    return 'depthwise convolution'
  library = opcode == 'custom-call'
  if 'convolution' in inside or (library and ('conv' in path.lower() or 'conv' in line.lower())):
    return 'other convolutions'
  if 'dot' in inside or (library and ('gemm' in line.lower() or 'dot' in path)):
    return 'matrix products'
  if inside & _REDUCTIONS:
    return 'reductions'
  work = inside - _NOTHING
  if work and work <= _COPIES:
    return 'copies and transposes'
  return 'other' if library or opcode in _NOTHING else 'element-wise'


def read_seconds(folder: str) -> dict[str, float]:
  """Seconds of every HLO operation in a trace that `jax.profiler.trace(folder)` wrote.

  An operation that a CPU's thread pool finishes has a separate event 'end: NAME'.
  """
  from jax.profiler import ProfileData

  started, ended, seconds = [], {}, collections.Counter()
  for path in sorted(pathlib.Path(folder).rglob('*.xplane.pb')):
    for plane in ProfileData.from_file(str(path)).planes:
      for line in plane.lines:
        for event in line.events:
          statistics = dict(event.stats)
          if event.name.startswith('end: '):
            ended[statistics.get('_c')] = event.start_ns
          elif 'hlo_op' in statistics:
            key = statistics.get('_p')
            started.append((statistics['hlo_op'], key, event.start_ns, event.duration_ns))
  for name, key, start, duration in started:
    end = ended.get(key) if key is not None else None
    seconds[name] += max(duration, end - start if end is not None else 0) / 1e9
  return dict(seconds)


def seconds_by_class(
  seconds: dict[str, float], classes: dict[str, str], calls: int
) -> dict[str, float]:
  """Seconds per call and class; operations that run at the same time both count."""
  total = dict.fromkeys(CLASSES, 0.0)
  for name, value in seconds.items():
    if group := classes.get(name, 'other'):
      total[group] += value / calls
  return total

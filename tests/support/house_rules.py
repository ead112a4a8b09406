"""The rules of the repository's layout. Each gives the violations below a root, a line for each.

A package `ecanet_jax/NAME` is a room. Imports go from a higher tier to a lower one, or stay in
their room. Imports inside of functions count.
"""

import ast
import pathlib
import re
from collections.abc import Iterator

# From low to high. The rooms of one tier do not import each other.
TIERS = (
  ('version',), ('ops',), ('runtime',), ('nn', 'data', 'checkpoints'), ('config',), ('models',),
  ('detection',), ('weights',), ('tasks',), ('evaluation', 'inference'), ('training',),
  ('aot', 'analysis', 'export'), ('cli',),
)
TIER = {room: number for number, rooms in enumerate(TIERS) for room in rooms}
# What stands above the package.
ABOVE = ('benchmarks', 'configs', 'tests', 'train', 'eval')
# What a recipe may import of the package.
RECIPES_USE = ('ecanet_jax.config',)
# Beside ops, who may import the CPU kernels: the resize operation of tf.data.
KERNEL_USERS = ('ecanet_jax/ops/', 'ecanet_jax/data/tfdata/')
LINES, MODULES, COLUMNS = 330, 14, 100
CROWDED = ('ecanet_jax/models',)  # a file for each family
WORDS = re.compile(r'\bnative|\battended|\bops\.cpu|ops import cpu')
WORDLESS = ('models', 'training', 'tasks')


def python_files(root: pathlib.Path) -> list[pathlib.Path]:
  """Every Python file of the repository."""
  folders = [root / name for name in ('ecanet_jax', 'benchmarks', 'configs', 'tests')]
  return sorted([*root.glob('*.py'), *(path for each in folders for path in each.rglob('*.py'))])


def imported(path: pathlib.Path, root: pathlib.Path) -> list[str]:
  """Full names of what a file imports, as `package.module.name`; relative imports are resolved."""
  package, names = path.relative_to(root).parts[:-1], []
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names += [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      above = package[: len(package) - node.level + 1] if node.level else ()
      base = '.'.join([*above, *([node.module] if node.module else [])])
      names += [f'{base}.{alias.name}' for alias in node.names]
  return names


def arrows(root: pathlib.Path) -> Iterator[str]:
  """A module imports from its own room or from a lower tier."""
  for path in sorted((root / 'ecanet_jax').rglob('*.py')):
    where = str(path.relative_to(root))
    room = path.relative_to(root / 'ecanet_jax').parts[0].removesuffix('.py')
    if room in ('__init__', '__main__'):
      continue  # the public names of the whole package
    if room not in TIER:
      yield f'{where}: {room} is no room of tests/support/house_rules.py'
      continue
    for name in imported(path, root):
      top, *rest = name.split('.')
      if top in ABOVE:
        yield f'{where} imports {top}'
      elif top == 'ecanet_jax':
        other = rest[0] if rest and rest[0] in TIER else 'ecanet_jax'
        if other == room or TIER.get(other, len(TIERS)) < TIER[room]:
          continue
        yield f'{where} imports {other}'


def kernels(root: pathlib.Path) -> Iterator[str]:
  """Only ops, and the resize operation in data/tfdata, import the CPU kernels."""
  for path in sorted((root / 'ecanet_jax').rglob('*.py')):
    where = str(path.relative_to(root))
    names = imported(path, root)
    if not where.startswith(KERNEL_USERS) and any(
      f'{name}.'.startswith('ecanet_jax.ops.cpu.') for name in names
    ):
      yield f'{where} imports ops.cpu'


def words(root: pathlib.Path) -> Iterator[str]:
  """Models, training and tasks know nothing of the CPU kernels."""
  for room in WORDLESS:
    for path in sorted((root / 'ecanet_jax' / room).rglob('*.py')):
      for word in sorted(set(WORDS.findall(path.read_text()))):
        yield f'{path.relative_to(root)} has {word!r}'


def recipes(root: pathlib.Path) -> Iterator[str]:
  """A recipe imports ecanet_jax.config and nothing else of the package."""
  for path in sorted((root / 'configs').rglob('*.py')):
    for name in imported(path, root):
      inside = any(f'{name}.'.startswith(f'{module}.') for module in RECIPES_USE)
      if name.split('.')[0] in ('ecanet_jax', *ABOVE) and not inside:
        yield f'{path.relative_to(root)} imports {name}'


def tests(root: pathlib.Path) -> Iterator[str]:
  """No file imports a test or a conftest: what tests share is in tests/support."""
  for path in python_files(root):
    for module in sorted({_test_in(name) for name in imported(path, root)} - {''}):
      yield f'{path.relative_to(root)} imports {module}'


def _test_in(name: str) -> str:
  """The name of the test module in an import, up to the module; '' = none."""
  parts = name.split('.')
  for number, part in enumerate(parts, start=1):
    if parts[0] == 'tests' and (part.startswith('test_') or part == 'conftest'):
      return '.'.join(parts[:number])
  return ''


def lengths(root: pathlib.Path) -> Iterator[str]:
  """No Python file is longer than LINES lines."""
  for path in python_files(root):
    if (lines := len(path.read_text().splitlines())) > LINES:
      yield f'{path.relative_to(root)} has more than {LINES} lines: {lines}'


def folders(root: pathlib.Path) -> Iterator[str]:
  """No folder of the package has more than MODULES modules; `__init__` is not counted."""
  for folder in sorted({path.parent for path in (root / 'ecanet_jax').rglob('*.py')}):
    modules = [path for path in folder.glob('*.py') if path.name != '__init__.py']
    where = str(folder.relative_to(root))
    if len(modules) > MODULES and where not in CROWDED:
      yield f'{where} has more than {MODULES} modules: {len(modules)}'


def asserts(root: pathlib.Path) -> Iterator[str]:
  """The package has no `assert`: a mistake of a user is a UserError."""
  for path in sorted((root / 'ecanet_jax').rglob('*.py')):
    if any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(path.read_text()))):
      yield f'{path.relative_to(root)} has an assert'


def columns(root: pathlib.Path) -> Iterator[str]:
  """No line of Markdown is longer than COLUMNS, but in tables and code, and for a link's target."""
  for path in [file for folder in ('*.md', 'docs/**/*.md', 'benchmarks/**/*.md')
               for file in sorted(root.glob(folder))]:
    code = False
    for number, line in enumerate(path.read_text().splitlines(), start=1):
      if line.lstrip().startswith('```'):
        code = not code
      text = re.sub(r'\]\([^)]*\)', ']', re.sub(r'https?://[^\s)]+', '', line))
      if not code and not line.startswith('|') and len(text) > COLUMNS:
        yield f'{path.relative_to(root)}:{number} has more than {COLUMNS} columns: {len(text)}'


RULES = {
  rule.__name__: rule
  for rule in (arrows, kernels, words, recipes, tests, lengths, folders, asserts, columns)
}

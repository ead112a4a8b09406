"""The code blocks of README.md and docs/, and which test each command of a block belongs to.

A block's first comment may say what its commands need: `# needs ...`, `# ImageNet: ...` or
`# on the first of ...`.
"""

import dataclasses
import pathlib
import re
import shlex

from tests.support.programs import ROOT

PAGES = (ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md')))
SHELL, PYTHON, SHOWN = ('bash',), ('python',), ('text', 'json')
NEED = re.compile(r'# (needs |on the first of |ImageNet: )')
# Of every command that needs nothing from outside exactly one pattern matches.
PATTERNS = {
  # Run as it is written, in every test run.
  'quick': r'python -m ecanet_jax (models|summary|doctor)(?!.* --(table|markdown|png|train))',
  # Run as it is written, in the slow tests.
  'slow': r'python (-m ecanet_jax (models .*--(table|png)|prepare --dataset=digits --data_dir=data)'
          r'|train\.py --config=configs/(?P<name>smoke|digits)\.py --workdir=runs/(?P=name)$)',
  # Run as it is written, in the slow tests, after the training of the digits.
  'trained': r'python (eval\.py --config=configs/digits\.py|-m tests\.check_export runs/digits'
             r'|-m ecanet_jax (convert runs/(digits|exported)|export runs/digits) )',
  # Only parsed: several trainings, measurements, or minutes of compilation.
  'long': r'python (-m ecanet_jax (sweep|compile|doctor --train)|-m benchmarks|-m pytest'
          r'|train\.py --config=configs/(?!smoke|digits)|train\.py .* --config\.)',
  # Sets up an environment.
  'set-up': r'(make (train|test|test-all|lint|docs|demo)|pip install .*|git clone .*)$',
}
OUTSIDE = re.compile(r'(python|pip|scripts/\w+\.sh|gcloud|git|envsubst|xpk|sky) ')


@dataclasses.dataclass(frozen=True)
class Block:
  """One code block.

  Attributes:
    where: page and line, such as 'README.md:12'.
    language: after the fence.
    text: between the fences.
  """

  where: str
  language: str
  text: str

  @property
  def comment(self) -> str:
    """The block's first line if that is a comment, else ''."""
    first = self.text.split('\n', 1)[0]
    return first if first.startswith('#') else ''


@dataclasses.dataclass(frozen=True)
class Command:
  """One command of a shell block.

  Attributes:
    where: of its block.
    words: as the shell gives them to the program.
    need: the block's comment if it says what the commands need, else ''.
  """

  where: str
  words: tuple[str, ...]
  need: str

  @property
  def text(self) -> str:
    return ' '.join(self.words)

  @property
  def kinds(self) -> list[str]:
    """The classes that it belongs to, which must be one."""
    if self.need:
      return ['needs'] if OUTSIDE.match(self.text) else []
    return [kind for kind, pattern in PATTERNS.items() if re.match(pattern, self.text)]

  @property
  def python(self) -> list[str]:
    """['train.py', ARGUMENTS ...] or ['-m', MODULE, ARGUMENTS ...]; [] for other programs."""
    words = list(self.words)
    if words[0] == 'scripts/again.sh':
      words = words[1:]
    if words[0] == 'scripts/tpu.sh' and '--' in words:
      return ['train.py', *words[words.index('--') + 1:]]
    return words[1:] if words[0] == 'python' else []


def blocks(page: pathlib.Path) -> list[Block]:
  """The code blocks of a page."""
  found, opened, lines = [], None, []
  for number, line in enumerate(page.read_text().splitlines(), start=1):
    if line.startswith('```'):
      if opened is None:
        opened, lines = (number, line.removeprefix('```').strip()), []
      else:
        where = f'{page.relative_to(ROOT)}:{opened[0]}'
        found.append(Block(where, opened[1], '\n'.join(lines)))
        opened = None
    elif opened is not None:
      lines.append(line)
  if opened is not None:
    raise ValueError(f'{page}:{opened[0]}: this code block has no end')
  return found


def all_blocks() -> list[Block]:
  """The code blocks of all pages."""
  return [block for page in PAGES for block in blocks(page)]


def commands() -> list[Command]:
  """The commands of all shell blocks."""
  found = []
  for block in all_blocks():
    if block.language in SHELL:
      need = block.comment if NEED.match(block.comment) else ''
      for line in block.text.replace('\\\n', '').splitlines():
        if words := shlex.split(line, comments=True):
          found.append(Command(block.where, tuple(words), need))
  return found

"""Every command and every piece of Python in README.md and docs/ works as it is written.

What needs data, a network or an accelerator that is not here, and what takes long, is parsed by the
program's own parser: its flags, config file, config keys and names exist.
"""

import argparse
import importlib
import os
import pkgutil
import re
import runpy
import subprocess
import sys

import pytest

from ecanet_jax import cli
from ecanet_jax.aot import table
from ecanet_jax.aot.topologies import chip_of
from ecanet_jax.cli.arguments import Parser
from ecanet_jax.cli.config import load_config
from ecanet_jax.detection.from_config import create_from_config, is_detector
from ecanet_jax.detection.registry import detector_record
from ecanet_jax.models import network
from tests.support import doc_blocks
from tests.support.programs import ROOT

COMMANDS = doc_blocks.commands()
SECONDS = 1500


def of(kind):
  return [pytest.param(each, id=f'{each.where} {each.text}') for each in COMMANDS
          if kind in each.kinds]


def test_every_block_has_a_language():
  known = (*doc_blocks.SHELL, *doc_blocks.PYTHON, *doc_blocks.SHOWN)
  assert not [block.where for block in doc_blocks.all_blocks() if block.language not in known]


def test_every_command_belongs_to_one_class():
  unclear = [(each.where, each.text, each.kinds) for each in COMMANDS if len(each.kinds) != 1]
  assert not unclear
  assert {'quick', 'slow', 'trained', 'long', 'set-up', 'needs'} == {
    kind for each in COMMANDS for kind in each.kinds
  }


@pytest.mark.parametrize('page', doc_blocks.PAGES, ids=lambda page: page.name)
def test_links(page):
  targets = re.findall(r'\]\(([^)#\s]+)', page.read_text())
  assert not [each for each in targets if '://' not in each and not (page.parent / each).exists()]


def test_the_site_has_every_page():
  # MkDocs's own check needs MkDocs; `make docs` runs it.
  text = (ROOT / 'mkdocs.yml').read_text()
  listed = set(re.findall(r'[\w/]+\.md', text[text.index('\nnav:'):]))
  docs = ROOT / 'docs'
  assert listed == {str(page.relative_to(docs)) for page in docs.rglob('*.md')}


def test_the_pages_of_the_api_name_what_exists():
  names = [
    name for page in (ROOT / 'docs' / 'api').glob('*.md')
    for name in re.findall(r'^::: (\S+)', page.read_text(), re.MULTILINE)
  ]
  assert len(names) > 15 and all(pkgutil.resolve_name(name) for name in names)


def test_a_link_out_of_the_site_becomes_a_path():
  text = 'See [log](../a/b.txt), [page](weights.md) and ![x](images/x.png).'
  expected = 'See `a/b.txt`, [page](weights.md) and ![x](images/x.png).'
  hook = runpy.run_path(str(ROOT / 'scripts' / 'docs_links.py'))
  assert hook['on_page_markdown'](text) == expected


def test_the_picture_of_the_ablations_is_that_of_its_results():
  picture = ROOT / 'docs' / 'images' / 'digits_attention.png'
  results = ROOT / 'benchmarks' / 'results' / 'digits_attention' / 'top1_by_images.png'
  assert picture.read_bytes() == results.read_bytes()


# What is parsed.


@pytest.mark.parametrize('command', [
  pytest.param(each, id=f'{each.where} {each.text}') for each in COMMANDS if each.python
])
def test_it_parses(command, monkeypatch):
  monkeypatch.chdir(ROOT)
  program, *rest = command.python
  if program in ('train.py', 'eval.py'):
    check_command(program.removesuffix('.py'), *rest)
  elif rest[0] == 'ecanet_jax':
    check_command(*rest[1:])
  elif rest[0] == 'benchmarks':
    check_benchmark(rest[1:])
  else:
    assert importlib.util.find_spec(rest[0])


def check_command(name, *arguments):
  """Parses the arguments of a command of `python -m ecanet_jax`, and looks up the names."""
  assert name in cli.COMMANDS
  module, parser = importlib.import_module(f'ecanet_jax.cli.{name}'), Parser()
  module.add_arguments(parser)
  args = getattr(module, 'parse', Parser.parse_args)(parser, list(arguments))
  if name in ('train', 'eval') and args.config:
    create_from_config(load_config(args.config, args.overrides).model)
  if name in ('summary', 'convert') and args.model:
    (detector_record if is_detector(args.model) else network)(args.model)
  if name == 'compile' and args.table:
    table.entries(args.table)
  elif name == 'compile':
    chip_of(args.topology)
    create_from_config(load_config(args.config, args.overrides).model)
  if name == 'doctor' and args.train:
    create_from_config(load_config(args.train, args.overrides).model)
  if name == 'sweep':
    varied = [(key, values.split(',')) for key, _, values in (v.partition('=') for v in args.vary)]
    for path in args.config:
      create_from_config(load_config(path, args.overrides).model)
      for key, values in varied:
        if '(' not in ''.join(values):
          for value in values:
            override = f'--config.{key}={value}'
            create_from_config(load_config(path, [*args.overrides, override]).model)


def check_benchmark(arguments):
  """Parses the benchmark's flags as far as it does before it measures."""
  from benchmarks import command
  from benchmarks.detection import command as detection
  from benchmarks.latency import command as latency
  from benchmarks.operations import command as operations
  from benchmarks.twin import command as twin

  if arguments[:1] == ['twin']:
    args = twin.parse(arguments[1:])
    load_config(args.config, args.overrides)
    for name in filter(None, args.models.split(',')):
      network(name)
    return
  parser = argparse.ArgumentParser()
  if arguments[:1] == ['latency']:
    latency.add_arguments(parser)
    latency.check(parser.parse_args(arguments[1:]))
    return
  if arguments[:1] == ['operations']:
    operations.add_arguments(parser)
    operations.check(parser.parse_args(arguments[1:]))
    return
  if arguments[:1] == ['detection']:  # its check needs the training
    detection.add_arguments(parser)
    parser.parse_args(arguments[1:])
    return
  command.add_arguments(parser)
  args = parser.parse_args(arguments)
  command.check(args)
  for name in (args.model or 'efficientnet_b0').split(','):
    network(name)


@pytest.mark.parametrize('command', of('set-up'))
def test_set_up(command):
  words = command.words
  if words[0] == 'make':
    assert re.search(rf'^{words[1]}:', (ROOT / 'Makefile').read_text(), re.MULTILINE)
  extras = re.findall(r'\[([\w,-]+)\]', command.text)
  for extra in (name for names in extras for name in names.split(',')):
    assert re.search(rf"^    '{extra}': ", (ROOT / 'setup.py').read_text(), re.MULTILINE)


@pytest.mark.parametrize('command', of('needs'))
def test_scripts_exist(command):
  if command.words[0].startswith('scripts/'):
    assert os.access(ROOT / command.words[0], os.X_OK)


# What is run as it is written, as on a user's machine: one CPU device, no flags of the tests.


def run(words, folder):
  """Runs a Python program in a folder that looks like the checkout."""
  environment = {
    name: value for name, value in os.environ.items()
    if name not in ('XLA_FLAGS', 'TF_CPP_MIN_LOG_LEVEL') and not name.startswith('JAX_')
  }
  done = subprocess.run(
    [sys.executable, *words], cwd=folder, env={**environment, 'JAX_PLATFORMS': 'cpu'},
    capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL,
  )
  assert done.returncode == 0, f'{words}: {done.returncode}\n{done.stdout}\n{done.stderr}'
  assert 'Traceback' not in done.stderr
  return done.stdout


def like_a_checkout(folder):
  """Fills a folder with links to what a checkout has, so that nothing is written into this one."""
  for path in ROOT.iterdir():
    if not path.name.startswith('.') and path.name not in ('data', 'runs', 'build', 'dist'):
      (folder / path.name).symlink_to(path)
  (folder / 'runs').mkdir()
  return folder


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
  return like_a_checkout(tmp_path_factory.mktemp('checkout'))


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """What `make train` leaves, by its own two commands."""
  folder = like_a_checkout(tmp_path_factory.mktemp('trained'))
  recipe = re.findall(r'^\t\$\(PYTHON\) (.*)$', (ROOT / 'Makefile').read_text(), re.MULTILINE)
  for line in recipe[:2]:
    run(line.split(), folder)
  return folder


@pytest.mark.parametrize('command', of('quick'))
def test_quick_commands(command, checkout):
  assert run(command.python, checkout)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize('command', of('slow'))
def test_slow_commands(command, trained):
  assert run(command.python, trained)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize('command', of('trained'))
def test_commands_after_the_training(command, trained):
  target = trained / command.words[-1]
  if 'convert' in command.words and target.exists() and not target.is_symlink():
    pytest.skip(f'{target.name} was made by the same command of another page')
  assert run(command.python, trained)


def python_blocks(after_training):
  return [
    pytest.param(block, id=block.where) for block in doc_blocks.all_blocks()
    if block.language in doc_blocks.PYTHON and not doc_blocks.NEED.match(block.comment)
    and block.comment.startswith('# after') == after_training
  ]


@pytest.mark.parametrize('block', python_blocks(False))
def test_python(block, checkout):
  run(['-c', block.text], checkout)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize('block', python_blocks(True))
def test_python_after_the_training(block, trained):
  shim = (
    'from ecanet_jax.weights.torchvision_shim import import_torchvision\nimport_torchvision()\n'
    if 'import timm' in block.text else ''
  )
  run(['-c', shim + block.text], trained)

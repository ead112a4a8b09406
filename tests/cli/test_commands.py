"""The command line: what it prints, what it imports, how it fails."""

import re
import subprocess
import sys

import pytest

import ecanet_jax
from ecanet_jax import cli
from tests.support import programs


@pytest.mark.parametrize(('code', 'absent'), [
  ("from ecanet_jax.cli import main; main(['models'])", 'tensorflow'),
  ("from ecanet_jax.cli import main; main(['summary', 'eca_efficientnet_b0'])", 'tensorflow'),
  ('import benchmarks.worker, ecanet_jax.training.step, ecanet_jax.ops.cpu',
   'tensorflow'),
  ('import ecanet_jax.training.trainer', 'tensorflow'),
  ('import ecanet_jax.weights.export', 'torch'),
])
def test_what_is_not_imported(code, absent):
  check = f'import sys; {code}; sys.exit({absent!r} in sys.modules)'
  done = subprocess.run(
    [sys.executable, '-c', check], cwd=programs.ROOT, timeout=programs.TIMEOUT, capture_output=True
  )
  assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize('arguments', [
  ['summary', 'eca_efficientnet_b0'], ['models', 'tiny_*', '--table'],
  ['models', 'gsop_resnet50', '--table'],
])
def test_nothing_is_compiled_by_a_compiler(arguments, tmp_path):
  compiler, called = tmp_path / 'compiler', tmp_path / 'called'
  compiler.write_text(f'#!/bin/sh\ntouch {called}\nexit 1\n')
  compiler.chmod(0o755)
  variables = {'CXX': str(compiler), 'XDG_CACHE_HOME': str(tmp_path)}
  done = programs.finish(programs.start('-m', 'ecanet_jax', *arguments, variables=variables))
  assert done.returncode == 0, done.stderr
  assert not called.exists()


def test_models(capsys):
  assert cli.main(['models', '*eca_efficientnet*']) == 0
  lines = capsys.readouterr().out.splitlines()
  assert [line.split()[:2] for line in lines] == [
    ['eca_efficientnet_b0', '4,652,084'], ['tf_eca_efficientnet_b0', '-']
  ]


def test_table(capsys):
  assert cli.main(['models', 'b0_*noskip', '--table']) == 0
  lines = capsys.readouterr().out.splitlines()
  assert [line.split()[:2] for line in lines[1:-1]] == [
    ['b0_nose_noskip', '5.11'], ['b0_seend_noskip', '5.16']
  ]
  assert lines[-1] == '2 of 2 published figures met to the printed digits'


def test_summary(capsys):
  assert cli.main(['summary', 'eca_efficientnet_b0']) == 0
  out = capsys.readouterr().out
  assert 'total: 4,652,084 parameters = 4.65 x 10^6 = 4.44 x 2^20' in out
  assert out.count('eca k=5') == 14 and out.count('eca k=3') == 2
  assert 'published parameters: 4,652,084 (hyugen blog): met' in out
  assert cli.main(['summary', 'efficientnet_b0', '--where=skip']) == 0
  assert 'total: 5,110,376 parameters' in capsys.readouterr().out


@pytest.mark.parametrize(('arguments', 'text'), [
  (['modls'], "unknown command 'modls'. Did you mean 'models'"),
  (['models', 'eca_b0'], "no model matches 'eca_b0'."),
  (['summary', 'efficientnet-b0'], "unknown model 'efficientnet-b0'. Did you mean 'effi"),
  (['summary', 'efficientnet_b0', '--image_size=-1'], '--image_size=-1 must be at least 1'),
  (['models', '--markdown'], '--markdown writes the table: give --table, too.'),
  (['models', '--table', '--markdown=none/networks.md'], "no directory 'none' for networks.md"),
  (['models', '--table', '--markdown=docs'], 'docs is a directory, not a file'),
  (['bench'], 'run python -m benchmarks in a checkout'),
  (['summary', 'efficientnet_b0', '--attention=ecca'], "unknown attention.kind 'ecca'"),
])
def test_bad_input(capsys, arguments, text):
  assert cli.main(arguments) == 2
  err = capsys.readouterr().err
  assert err.startswith('error: ') and text in err and err.count('\n') == 1


def test_usage(capsys):
  assert cli.main(['--help']) == 0
  out = capsys.readouterr().out
  assert all(name in out for name in cli.COMMANDS)
  assert cli.main([]) == 2


def test_version(capsys):
  assert cli.main(['--version']) == 0
  assert capsys.readouterr().out == f'ecanet_jax {ecanet_jax.__version__}\n'


WITHOUT_TRAIN = '''
import sys
for name in ('tensorflow', 'tensorflow_datasets', 'importlib_resources', 'matplotlib',
             'tensorboardX', 'sklearn'):
  sys.modules[name] = None
import ecanet_jax
from ecanet_jax.cli import main
model = ecanet_jax.create_model('tiny_efficientnet', num_classes=10)
import ecanet_jax.aot.program, ecanet_jax.cli.convert, ecanet_jax.weights.export
from ecanet_jax.weights.loaded_weights import load_pretrained, read_weights
from tests.support.random_variables import random_variables
from ecanet_jax.checkpoints.files import save_weights
from ecanet_jax.cli.config import load_config
from ecanet_jax.config.trees import plain
folder = sys.argv[1]
save_weights(f'{folder}/run', plain(load_config('smoke')), random_variables(model))
load_pretrained(f'{folder}/run')
for command in (
  ['summary', 'tiny_efficientnet'], ['convert', f'{folder}/run', f'{folder}/timm'],
  ['convert', f'{folder}/timm', f'{folder}/again'],
):
  print('status:', command[0], main(command))
for command in (
  ['train', '--config=digits', f'--workdir={folder}/x'], ['prepare', '--dataset=digits'],
  ['sweep', '--config=smoke', f'--workdir={folder}/x'],
  ['eval', '--config=digits', f'--workdir={folder}/run'],
):
  print('status:', command[0], main(command))
'''


def test_without_the_extra_train(tmp_path):
  done = programs.run('-c', WITHOUT_TRAIN, str(tmp_path))
  assert re.findall(r'^status: (.*)$', done.stdout, re.MULTILINE) == [
    'summary 0', 'convert 0', 'convert 0', 'train 2', 'prepare 2', 'sweep 2', 'eval 2'
  ]
  lines = done.stderr.splitlines()
  assert len(lines) == 4, done.stderr  # nothing of Orbax either
  assert all(
    line.startswith("error: matplotlib is not installed: pip install 'ecanet_jax[train]' (missing:")
    for line in lines
  )

"""The command line: what it prints, what it imports, how it fails."""

import subprocess
import sys

import pytest

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

"""python -m benchmarks operations: the table, the comparison of the results, mistakes."""

import sys

import pytest

from benchmarks.__main__ import main
from benchmarks.operations import command
from ecanet_jax.ops.cpu import kernels
from ecanet_jax.runtime.errors import UserError

SMALL = (command.Convolution(8, 16, 16, 3, 1), command.Convolution(7, 4, None, 5, 2))


def run(monkeypatch, *flags):
  monkeypatch.setattr(sys, 'argv', ['benchmarks', 'operations', *flags])
  monkeypatch.setattr(command, 'CONVOLUTIONS', SMALL)
  monkeypatch.setattr(command, 'AIM_SECONDS', 0.0)
  return main()


def test_the_table(monkeypatch, capsys, load_kernels):
  load_kernels('float32')
  assert run(monkeypatch, '--rounds=1', '--batch_size=2') == 0
  lines = capsys.readouterr().out.splitlines()
  assert 'float32, batch 2; milliseconds, median of 1: XLA / ours' in lines[0]
  assert lines[2] == '| convolution | forward | gradient by x | gradient by the kernel |'
  assert [line.split(' | ')[0] for line in lines[4:]] == [
    '| 3 x 3; 8 px, 16 -> 16', '| 5 x 5, stride 2; 7 px, 4 depthwise']
  for line in lines[4:]:
    pairs = [cell.split(' / ') for cell in line.strip('| ').split(' | ')[1:]]
    assert len(pairs) == 3 and all(float(each) > 0 for pair in pairs for each in pair)


def test_another_result_is_not_timed(monkeypatch, load_kernels):
  load_kernels('float32')
  plain = command.xla.conv
  monkeypatch.setattr(command.convolution, 'conv', lambda *args: 1.01 * plain(*args))
  with pytest.raises(UserError, match='3 x 3; 8 px, 16 -> 16: our result differs from that of XLA'):
    command.measure(SMALL[0], 2, 1)


@pytest.mark.parametrize('flags, message', [
  (['--rounds=0'], '--rounds=0 must be at least 1.'),
  (['--batch_size=-1'], '--batch_size=-1 must be at least 1.'),
])
def test_mistakes(monkeypatch, capsys, flags, message):
  assert run(monkeypatch, *flags) == 2
  assert capsys.readouterr().err == f'error: {message}\n'


@pytest.mark.parametrize('module, name, value, advice', [
  (kernels, 'usable', False, 'install a C++ compiler'),
  (command.jax, 'default_backend', 'gpu', 'set JAX_PLATFORMS=cpu'),
])
def test_where_there_are_no_kernels(monkeypatch, capsys, module, name, value, advice):
  monkeypatch.setattr(module, name, lambda *arrays: value)
  assert run(monkeypatch) == 2
  assert advice in capsys.readouterr().err

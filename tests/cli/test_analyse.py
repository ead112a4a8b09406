"""`analyse` on a training of a few steps."""

import csv

import numpy as np
import pytest

from configs import smoke
from ecanet_jax import cli
from ecanet_jax.analysis.attention import gates_of_run
from ecanet_jax.analysis.pictures import draw_attention, sampled
from ecanet_jax.analysis.run import open_run
from ecanet_jax.training.trainer import Trainer


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  config = smoke.get_config()
  config.batch_size, config.data.image_size, config.tensorboard = 64, 16, False
  config.epochs, config.eval_epochs, config.save_epochs = 0.25, 0.0, 0.25
  config.schedule.warmup_epochs = 0.0
  workdir = tmp_path_factory.mktemp('analysed') / 'run'
  Trainer(config, workdir).run()
  return workdir


def test_attention_of_two_runs(workdir, tmp_path, capsys):
  command = ['analyse', 'attention', str(workdir), str(workdir), f'--out={tmp_path / "out"}']
  assert cli.main([*command, '--classes=3,0', '--spread', '--channels=5']) == 0
  said = capsys.readouterr().out
  assert said.count('class share  by chance  static share') == 2 and 'images of 10 classes' in said
  assert (tmp_path / 'out' / 'attention.png').read_bytes().startswith(b'\x89PNG')
  rows = list(csv.DictReader((tmp_path / 'out' / 'attention.csv').read_text().splitlines()))
  assert {row['class'] for row in rows} == {'0', '3'}
  found = gates_of_run(open_run(workdir))
  for name, gates in found.blocks.items():
    given = [float(row['mean']) for row in rows if (row['block'], row['class']) == (name, '3')]
    np.testing.assert_allclose(given, np.tile(gates.weights.mean()[3], 2), rtol=1e-6)
  again = [str(tmp_path / 'out' / 'attention.npz'), f'--out={tmp_path / "again"}']
  flags = ['--classes=3,0', '--spread', '--channels=5']
  assert cli.main(['analyse', 'attention', *again, *flags]) == 0
  for name in ('attention.csv', 'attention_shares.csv', 'attention.png'):
    assert (tmp_path / 'again' / name).read_bytes() == (tmp_path / 'out' / name).read_bytes()


def test_a_folder_without_labels(workdir, tmp_path, capsys):
  command = ['analyse', 'attention', str(workdir), f'--data={tmp_path}', f'--out={tmp_path / "o"}']
  assert cli.main(command) == 2
  assert f'error: {tmp_path} has no labels: put' in capsys.readouterr().err


def test_lines_are_the_means(workdir, tmp_path):
  found = gates_of_run(open_run(workdir))
  figure = draw_attention(
    [(found.title, found.blocks)], found.names, [1, 2], tmp_path / 'a.png', channels=4
  )
  panels = [axis for axis in figure.axes if axis.lines]
  assert len(panels) == len(found.blocks)
  for axis, gates in zip(panels, found.blocks.values(), strict=True):
    chosen = sampled(gates.weights.total.shape[1], 4)
    assert len(chosen) == 4
    for line, label in zip(axis.lines, (1, 2)):
      np.testing.assert_array_equal(line.get_ydata(), gates.weights.mean()[label, chosen])
    np.testing.assert_array_equal(
      axis.lines[2].get_ydata(), gates.weights.mean_of_classes()[chosen])


@pytest.mark.parametrize(('arguments', 'text'), [
  (['atention'], "unknown kind of analysis 'atention'. Did you mean 'attention'?"),
  (['attention', '--classes=99'], "no class '99'."),
  (['attention', '--blocks=conv_9_1'], 'no attention in a block conv_9_1 (blocks_7_0).'),
  (['--channels=3'], "'--channels=3' stands before the kind; write ecanet_jax analyse KIND RUN..."),
  (['attention', '--channels=-1'], '--channels=-1 must be at least 0.'),
])
def test_mistakes(workdir, tmp_path, capsys, arguments, text):
  kind, *flags = arguments
  assert cli.main(['analyse', kind, str(workdir), f'--out={tmp_path / "out"}', *flags]) == 2
  assert f'error: {text}' in capsys.readouterr().err and not (tmp_path / 'out').exists()

"""`analyse` on a training of a few steps."""

import csv

import numpy as np
import pytest
from PIL import Image

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


def drawn_twice(tmp_path, kind, *arguments, flags=()):
  """Runs a kind, then draws its picture again from the arrays; returns the rows of its table."""
  out, again = tmp_path / 'out', tmp_path / 'again'
  assert cli.main(['analyse', kind, *map(str, arguments), *flags, f'--out={out}']) == 0
  assert cli.main(['analyse', kind, str(out / f'{kind}.npz'), f'--out={again}']) == 0
  assert {path.name for path in out.iterdir()} == {path.name for path in again.iterdir()}
  pictures = [path for path in out.iterdir() if path.suffix in ('.png', '.csv')]
  assert len(pictures) > 1
  for path in pictures:
    assert (again / path.name).read_bytes() == path.read_bytes()
  return list(csv.DictReader((out / f'{kind}.csv').read_text().splitlines()))


def test_static_of_two_runs(workdir, tmp_path, capsys):
  blocks = '--blocks=blocks_0_0,conv_3_1'
  rows = drawn_twice(tmp_path, 'static', workdir, workdir, flags=[blocks])
  assert [row['block'] for row in rows] == 2 * ['blocks_0_0', 'blocks_1_0', 'all']
  (run,) = {row['images'] for row in rows}
  assert int(run) == 360 and capsys.readouterr().out.count('constant: top-1') == 4


def test_pruning(workdir, tmp_path):
  flags = ['--shares=0.5,0.25', '--seeds=2', '--blocks=blocks_1_0']
  rows = drawn_twice(tmp_path, 'pruning', workdir, flags=flags)
  assert [row['share'] for row in rows] == ['0.25', '0.5'] * 5
  assert [row['order'] for row in rows if row['measure'] == 'random'] == ['0', '0', '1', '1']


def test_kernel(workdir, tmp_path):
  rows = drawn_twice(tmp_path, 'kernel', workdir, workdir)
  assert {row['place'] for row in rows if row['k'] == '3'} == {'-1', '0', '1'}


def test_gap(workdir, tmp_path):
  photographs = []
  for number in range(2):
    photographs.append(tmp_path / f'{number}.png')
    pixels = np.random.default_rng(number).integers(0, 255, (20, 20, 3), np.uint8)
    Image.fromarray(pixels).save(photographs[-1])
  flags = ['--images', *map(str, photographs), '--blocks=blocks_1_0']
  rows = drawn_twice(tmp_path, 'gap', workdir, flags=flags)
  assert {row['image'] for row in rows} == {'0.png', '1.png'}


def test_curves(workdir, tmp_path):
  rows = drawn_twice(tmp_path, 'curves', workdir, flags=[])
  assert {row['figure'] for row in rows} == {'eval/top1', 'train/loss'}


@pytest.mark.parametrize(('arguments', 'text'), [
  (['atention'], "unknown kind of analysis 'atention'. Did you mean 'attention'?"),
  (['attention', '--classes=99'], "no class '99'."),
  (['attention', '--blocks=conv_9_1'], 'no attention in a block conv_9_1 (blocks_7_0).'),
  (['--channels=3'], "'--channels=3' stands before the kind; write ecanet_jax analyse KIND RUN..."),
  (['attention', '--channels=-1'], '--channels=-1 must be at least 0.'),
  (['static', '--blocks=conv_9_1'], 'no attention in a block conv_9_1 (blocks_7_0).'),
  (['pruning', '--shares=0.5,1'], '--shares=0.5,1: 1 must be above 0 and below 1.'),
  (['pruning', '--shares=half'], '--shares=half must be numbers, such as 0.25,0.5.'),
  (['pruning', '--seeds=0'], '--seeds=0 must be at least 1.'),
  (['kernel', '--blocks=stem'], 'no attention in a block stem.'),
  (['gap'], 'no photographs: write analyse gap '),
  (['curves', '--smooth=2'], '--smooth=2 must be odd.'),
])
def test_mistakes(workdir, tmp_path, capsys, arguments, text):
  kind, *flags = arguments
  assert cli.main(['analyse', kind, str(workdir), f'--out={tmp_path / "out"}', *flags]) == 2
  assert f'error: {text}' in capsys.readouterr().err and not (tmp_path / 'out').exists()

"""`analyse` on a training of a few steps."""

import csv

import numpy as np
import pytest
from PIL import Image

import ecanet_jax
from configs import smoke
from ecanet_jax import cli
from ecanet_jax.analysis.attention import from_arrays, gates_of_run
from ecanet_jax.analysis.blocks import paper_name
from ecanet_jax.analysis.files import read_arrays
from ecanet_jax.analysis.gates import BlockGates
from ecanet_jax.analysis.pictures import draw_attention, sampled
from ecanet_jax.analysis.run import open_run
from ecanet_jax.analysis.statistics import Moments, Saturation
from ecanet_jax.models.intermediates import attention_views
from ecanet_jax.training.trainer import Trainer
from tests.support.imagenet_tars import smooth_image
from tests.support.weights_folder import write


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  config = smoke.get_config()
  config.batch_size, config.data.image_size, config.tensorboard = 64, 16, False
  config.epochs, config.eval_epochs, config.save_epochs = 0.25, 0.0, 0.25
  config.schedule.warmup_epochs, config.model.attention.kind = 0.0, 'eca'
  workdir = tmp_path_factory.mktemp('analysed') / 'run'
  Trainer(config, workdir).run()
  return workdir


def test_attention_of_two_runs(workdir, tmp_path, capsys):
  command = ['analyse', 'attention', str(workdir), str(workdir), f'--out={tmp_path / "out"}']
  assert cli.main([*command, '--classes=3,0', '--spread', '--channels=5']) == 0
  said = capsys.readouterr().out
  assert said.count('class share  by chance  static share') == 2
  assert f'{workdir}: tiny_efficientnet with eca on synthetic test, ' in said
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


def test_lines_are_those_of_the_table(workdir, tmp_path):
  blocks = ['blocks_0_0', 'blocks_2_0']
  assert cli.main([
    'analyse', 'attention', str(workdir), f'--out={tmp_path}', '--classes=1,2',
    f'--blocks={",".join(blocks)}',
  ]) == 0
  (found,) = from_arrays(read_arrays(str(tmp_path / 'attention.npz'), 'attention'))
  figure = draw_attention(
    [(found.title, found.blocks)], found.names, [1, 2], tmp_path / 'again.png'
  )
  assert (tmp_path / 'again.png').read_bytes() == (tmp_path / 'attention.png').read_bytes()
  rows = list(csv.DictReader((tmp_path / 'attention.csv').read_text().splitlines()))
  for axis, block in zip(figure.axes, blocks, strict=True):
    assert axis.get_title() == f'{block} ({paper_name(block)})' and axis.get_ylim() == (0, 1)
    for line, label in zip(axis.lines, '12'):
      of_line = [row for row in rows if (row['block'], row['class']) == (block, label)]
      np.testing.assert_array_equal(line.get_xdata(), [int(row['channel']) for row in of_line])
      np.testing.assert_array_equal(line.get_ydata(), [float(row['mean']) for row in of_line])
    np.testing.assert_array_equal(
      axis.lines[2].get_ydata(), found.blocks[block].weights.mean_of_classes())


def test_panels_of_a_block_stand_below_each_other(tmp_path):
  def sums(*names):
    gates = BlockGates(*(Moments(np.ones(1), np.full((1, 3), 0.5), np.ones((1, 3)))
                         for _ in range(2)), Saturation())
    return dict.fromkeys(names, gates)

  runs = [('SE on digits', sums(*'abcde')), ('ECA on digits', sums('b', 'e'))]
  figure = draw_attention(runs, ['one'], [0], tmp_path / 'a.png', channels=2)
  titles = [axis.get_title()[:1] for axis in figure.axes]
  assert titles == ['a', 'b', 'c', 'd', '', 'b', '', '', 'e', '', '', '', 'e', '', '', '']
  labels = [axis.get_ylabel() for axis in figure.axes[::4]]
  assert labels == 2 * ['SE\non digits\nattention weight', 'ECA\non digits\nattention weight']
  assert len(sampled(48, 4)) == 4 and sampled(3, 4).tolist() == [0, 1, 2]


def test_pictures_of_a_folder(tmp_path):
  names = ('ape', 'bee', 'cat', *'defghij')
  write(tmp_path / 'weights', label_names=names)
  files = []
  for number, name in enumerate(('ape', 'ape', 'cat')):
    folder = tmp_path / 'photos' / name
    folder.mkdir(parents=True, exist_ok=True)
    files.append(folder / f'{number}.png')
    smooth_image(np.random.RandomState(number), 70, 80).save(files[-1])
  assert cli.main([
    'analyse', 'attention', str(tmp_path / 'weights'), f'--data={tmp_path / "photos"}',
    '--classes=ape,cat,bee', f'--out={tmp_path / "out"}',
  ]) == 0
  classifier = ecanet_jax.load(tmp_path / 'weights')
  images = np.stack([classifier.transform(file) for file in files])
  views = attention_views(classifier.model, classifier.variables, images)
  rows = list(csv.DictReader((tmp_path / 'out' / 'attention.csv').read_text().splitlines()))
  assert {(row['name'], row['images']) for row in rows} == {
    ('ape', '2'), ('bee', '0'), ('cat', '1')
  }
  for block, view in views.items():
    weights = np.asarray(view['weights'], np.float64).reshape(3, -1)
    for name, expected in (('ape', weights[:2].mean(0)), ('cat', weights[2])):
      given = [float(row['mean']) for row in rows if (row['block'], row['name']) == (block, name)]
      np.testing.assert_allclose(given, expected, rtol=1e-5)


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
  assert {row['images'] for row in rows} == {'200'}
  assert capsys.readouterr().out.count('constant: top-1') == 4


def test_pruning(workdir, tmp_path):
  flags = ['--shares=0.5,0.25', '--seeds=2', '--blocks=blocks_1_0']
  rows = drawn_twice(tmp_path, 'pruning', workdir, flags=flags)
  assert [row['share'] for row in rows] == ['0.25', '0.5'] * 5
  assert [row['order'] for row in rows if row['measure'] == 'random'] == ['0', '0', '1', '1']


def test_kernel(tmp_path):
  write(tmp_path / 'folder')
  rows = drawn_twice(tmp_path, 'kernel', tmp_path / 'folder', tmp_path / 'folder')
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
  (['gap'], 'no photographs: write analyse gap '),
  (['curves', '--smooth=2'], '--smooth=2 must be odd.'),
])
def test_mistakes(workdir, tmp_path, capsys, arguments, text):
  kind, *flags = arguments
  assert cli.main(['analyse', kind, str(workdir), f'--out={tmp_path / "out"}', *flags]) == 2
  assert f'error: {text}' in capsys.readouterr().err and not (tmp_path / 'out').exists()

"""`analyse cam` and `predict --cam` on photographs and a small network."""

import csv

import numpy as np
import pytest
from PIL import Image

import ecanet_jax
from ecanet_jax import cli
from ecanet_jax.analysis.cam.explain import explain
from ecanet_jax.inference.images import read_image
from tests.support.imagenet_tars import smooth_image
from tests.support.weights_folder import write

NAMES = tuple('abcdefghij')


def pixels(path):
  with Image.open(path) as image:
    return np.asarray(image.convert('RGB'))


@pytest.fixture(scope='module')
def given(tmp_path_factory):
  """A weights folder, and a folder with two photographs."""
  path = tmp_path_factory.mktemp('cam')
  write(path / 'network', label_names=NAMES)
  (path / 'photos').mkdir()
  for number in range(2):
    smooth_image(np.random.RandomState(number), 70, 80 + 30 * number).save(
      path / 'photos' / f'{number}.png'
    )
  return path


def test_two_networks(given, tmp_path, capsys):
  network, photos, out = str(given / 'network'), str(given / 'photos'), tmp_path / 'out'
  command = ['analyse', 'cam', network, network, f'--out={out}', '--class=c,7', '--curves',
             '--randomised', '--scale=shared', '--images', photos]
  assert cli.main(command) == 0
  said = capsys.readouterr().out.splitlines()
  assert len(said) == 8 and said[0].startswith('0.png network: c ')
  assert all('area of deletion' in line and 'correlation with random' in line for line in said)
  classifier = ecanet_jax.load(network)
  pictures = [read_image(given / 'photos' / f'{number}.png') for number in (0, 1)]
  entries = explain(classifier, pictures, 'c,7', deletion=True)
  rows = list(csv.DictReader((out / 'cam.csv').read_text().splitlines()))
  expected = np.concatenate([entry.values.ravel() for entry in entries] * 2)
  np.testing.assert_allclose([float(row['value']) for row in rows], expected, rtol=1e-6)
  curve = list(csv.DictReader((out / 'cam_curves.csv').read_text().splitlines()))
  found = [float(row['insertion']) for row in curve[: len(entries[0].curves.share)]]
  np.testing.assert_allclose(found, entries[0].curves.insertion, rtol=1e-6)
  with np.load(out / 'cam.npz') as file:
    arrays = dict(file)
  np.testing.assert_array_equal(arrays['runs/1/values'][3], entries[3].values)
  again = tmp_path / 'again'
  command = ['analyse', 'cam', str(out / 'cam.npz'), '--scale=shared', f'--out={again}']
  assert cli.main(command) == 0
  for name in ('cam.png', 'cam_curves.png'):
    assert pixels(out / name).std() > 10
    np.testing.assert_array_equal(pixels(again / name), pixels(out / name))


def test_the_classes_are_those_of_the_first_network(given, tmp_path):
  write(tmp_path / 'other', label_names=NAMES[::-1], seed=1)
  runs = [str(given / 'network'), str(tmp_path / 'other')]
  command = ['analyse', 'cam', *runs, f'--out={tmp_path / "out"}']
  assert cli.main([*command, '--images', str(given / 'photos')]) == 0
  with np.load(tmp_path / 'out' / 'cam.npz') as file:
    np.testing.assert_array_equal(file['runs/0/name'], file['runs/1/name'])
    np.testing.assert_array_equal(file['runs/0/label'], 9 - file['runs/1/label'])


def test_the_classes_are_the_most_probable_ones(given):
  classifier = ecanet_jax.load(given / 'network')
  picture = read_image(given / 'photos' / '0.png')
  best = classifier.predict(given / 'photos' / '0.png', top=3)[0]
  found = explain(classifier, [picture], 'top3')
  assert [entry.label for entry in found] == [each.label for each in best]
  np.testing.assert_allclose(
    [entry.probability for entry in found], [each.probability for each in best], rtol=1e-5
  )


def test_contact_sheet(given, tmp_path):
  command = ['predict', str(given / 'network'), str(given / 'photos'), '--top=1']
  assert cli.main([*command, f'--png={tmp_path / "plain.png"}']) == 0
  assert cli.main([*command, f'--png={tmp_path / "cam.png"}', '--cam']) == 0
  plain, cam = (pixels(tmp_path / f'{name}.png') for name in ('plain', 'cam'))
  assert plain.shape == cam.shape and (plain != cam).mean() > 0.1


@pytest.mark.parametrize(('arguments', 'text'), [
  (['--class=top0'], '--class=top0: at least top1.'),
  (['--class=,'], '--class=, names no class; write --class=top1'),
  (['--class=zz'], "no class 'zz'."),
  (['--layer=blocks_9_9'], "no layer 'blocks_9_9'."),
  (['--scale=equal'], "unknown scale 'equal'."),
])
def test_mistakes(given, tmp_path, capsys, arguments, text):
  command = ['analyse', 'cam', str(given / 'network'), f'--out={tmp_path / "out"}', *arguments]
  assert cli.main([*command, '--images', str(given / 'photos')]) == 2
  assert f'error: {text}' in capsys.readouterr().err and not (tmp_path / 'out').exists()


def test_mistakes_of_the_pictures(given, tmp_path, capsys):
  network = str(given / 'network')
  assert cli.main(['analyse', 'cam', network, '--images', str(tmp_path / 'none.png')]) == 2
  assert 'none.png' in capsys.readouterr().err
  assert cli.main(['analyse', 'cam', network]) == 2
  assert f'write analyse cam {network} --images' in capsys.readouterr().err
  assert cli.main(['predict', network, str(given / 'photos'), '--cam']) == 2
  assert 'add --png=sheet.png' in capsys.readouterr().err

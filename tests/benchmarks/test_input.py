"""python -m benchmarks --input: photographs, table, wrong flags, and a whole short run."""

import argparse
import io
import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import command, loaders
from ecanet_jax.runtime.errors import UserError

SETTING = {'batch_size': 32, 'image_size': 224, 'threads': 1}


def test_photographs_are_like_those_of_imagenet():
  random = np.random.default_rng(0)
  files = [loaders.photograph(random) for _ in range(3)]
  assert all(70_000 < len(data) < 130_000 for data in files)
  assert len(set(files)) == 3
  assert Image.open(io.BytesIO(files[0])).size == (500, 375)


def test_images_are_an_image_folder(tmp_path):
  size = loaders.write_images(tmp_path, 5)
  assert len(list(tmp_path.glob('train/class?/*.jpg'))) == 5
  assert len(list(tmp_path.glob('val/class?/*.jpg'))) == 4
  assert 70_000 < size < 130_000


@pytest.mark.parametrize(('flag', 'message'), [
  ('--rounds=0', 'rounds=0 must be at least 1'),
  ('--batch_size=0', 'batch_size=0 must be at least 1'),
  ('--threads=100000', 'threads=100000 must be 0'),
  ('--json=/no/such/folder/file', 'does not exist'),
])
def test_a_wrong_flag_is_told_before_anything_starts(flag, message, monkeypatch):
  monkeypatch.setattr(loaders, 'measure', lambda *_: pytest.fail('started measuring'))
  parser = argparse.ArgumentParser()
  command.add_arguments(parser)
  with pytest.raises(UserError, match=message):
    command.run(parser.parse_args(['--input', flag]))


def test_the_ratio_is_of_neighbouring_turns(monkeypatch, capsys):
  def figures(sides, setting, rounds):
    return {'ours': [10.0, 30.0, 20.0], 'decoding': [20.0, 20.0, 20.0]}

  monkeypatch.setattr(loaders, 'measure', figures)
  monkeypatch.setattr(loaders, 'write_images', lambda *_: 100_000)
  assert loaders.run(['ours'], SETTING, 3) == 0
  heading, ours, decoding = capsys.readouterr().out.splitlines()
  assert '500 x 375, 100 kB, to 224 x 224, 1 workers, batch 32, 3 rounds' in heading
  assert ours.split(None, 1)[1] == '20.0 (10.0-30.0) images/s'
  assert decoding.endswith('ours / decoding 1.00 (0.50-1.50), goal 0.85')


def test_a_side_that_fails_is_told_with_the_end_of_its_output():
  setting = {'threads': 1, 'batch_size': 4, 'image_size': 32, 'data_dir': '/no/such/folder'}
  with pytest.raises(UserError, match=r'the side ours ended:(.|\n)*/no/such/folder'):
    loaders.measure(['ours'], setting, 1)


@pytest.mark.slow
def test_measures_three_sides(tmp_path):
  target = tmp_path / 'figures.json'
  assert loaders.run(['ours', 'timm'], SETTING, 1, str(target)) == 0
  speeds = json.loads(target.read_text())['images_per_second']
  assert {'ours', 'decoding'} <= set(speeds)
  assert all(value[0] > 0 for value in speeds.values())

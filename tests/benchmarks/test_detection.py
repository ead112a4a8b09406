"""python -m benchmarks detection: the table, the comparison of what is found, mistakes."""

import json
import sys

import pytest

from benchmarks.__main__ import main
from benchmarks.detection import command, scenes
from ecanet_jax.training.trainer import Trainer
from tests.support import small_detector


def run(monkeypatch, *flags):
  monkeypatch.setattr(sys, 'argv', ['benchmarks', 'detection', *flags])
  return main()


def test_the_table():
  figures = {
    'machine': {'cpu': 'X', 'cpus': 2, 'system': 'Linux', 'date': '2026-11-28'},
    'rounds': 3, 'threads': 'all', 'versions': {'jax': '0.10.2'},
    'modes': {
      'inference': {
        'images': 1, 'images_per_second': {'ours': [40.0, 30.0, 50.0], 'torchvision': [20.0] * 3},
        'found': {'objects': 9, 'box_pixels': 2e-5}, 'stolen': 0.01},
      'train': {'images': 8, 'images_per_second': {'ours': [9.0] * 3, 'torchvision': [6.0] * 3}},
    },
  }
  lines = command.table(figures).splitlines()
  assert lines[1].split() == [
    'inference', '1', '40.0', '(30.0-50.0)', '20.0', '(20.0-20.0)', '2.00', '(1.50-2.50)']
  assert lines[2].split()[-2:] == ['1.50', '(1.50-1.50)']
  assert 'the same 9 objects; boxes differ by at most 2.0e-05 pixels' in lines[4]
  assert 'CPU stolen: at most 1 %' in lines[5]


def test_both_sides_must_find_the_same():
  one = {'labels': [1, 1, 2], 'boxes': [[0, 0, 5, 5], [9, 9, 12, 12], [1, 1, 2, 2]]}
  other = {'labels': [1, 2, 1], 'boxes': [[9, 9, 12, 12.5], [1, 1, 2, 2], [0, 0, 5, 5]]}
  assert scenes.differences([one], [other]) == {'objects': 3, 'box_pixels': 0.5}
  with pytest.raises(ValueError, match='scene 0: the two sides find different objects'):
    scenes.differences([one], [{**other, 'labels': [1, 2, 2]}])


@pytest.mark.parametrize(('flags', 'text'), [
  (['--workdir=nowhere'], '--workdir=nowhere has no training of a detector; make one: '),
  (['--workdir=nowhere', '--mode=training'], "unknown mode 'training'."),
  (['--workdir=nowhere', '--threads=-1'], '--threads=-1 must be 0 (all) to '),
  (['--workdir=nowhere', '--rounds=0'], '--rounds=0 must be at least 1.'),
  (['--workdir=nowhere', '--json=no/file'], 'the folder no does not exist.'),
])
def test_mistakes(flags, text, monkeypatch, capsys):
  assert run(monkeypatch, *flags) == 2
  error = capsys.readouterr().err
  assert text in error and error.count('\n') == 1


def test_a_training_that_torchvision_lacks(tmp_path, monkeypatch, capsys):
  config = small_detector.configured(**{'model.attention.kind': 'se'})
  (tmp_path / 'config.json').write_text(config.to_json_best_effort())
  assert run(monkeypatch, f'--workdir={tmp_path}') == 2
  error = capsys.readouterr().err
  assert "has attention 'se'; the side of torchvision has 'none' and 'eca'" in error
  assert error.count('\n') == 1


@pytest.mark.slow
def test_measures_both_sides(tmp_path, monkeypatch, capsys):
  """Where torchvision's compiled operators load; else one line says so."""
  extension = pytest.importorskip('torchvision.extension')
  config = small_detector.configured(**{'model.depths': (1, 1, 1, 1), 'steps': 1})
  Trainer(config, tmp_path / 'run').run()
  status = run(
    monkeypatch, f'--workdir={tmp_path / "run"}', '--rounds=1', f'--json={tmp_path / "speed.json"}')
  if not extension._has_ops():
    assert status == 2
    assert "torchvision's compiled operators do not load" in capsys.readouterr().err
    return
  assert status == 0
  modes = json.loads((tmp_path / 'speed.json').read_text())['modes']
  assert modes.keys() == set(command.MODES)
  assert all(min(figures['images_per_second'][side]) > 0
             for figures in modes.values() for side in ('ours', command.PEER))

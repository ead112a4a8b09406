"""Curves from metrics.jsonl, and their groups by seed."""

import json

import numpy as np
import pytest

from configs import smoke
from ecanet_jax.analysis import curves
from ecanet_jax.config.trees import plain
from ecanet_jax.runtime.errors import UserError

LINES = [
  {'step': 10, 'train/loss': 2.0, 'train/seconds': 3.0},
  {'step': 10, 'eval/top1': 0.5, 'eval/loss': 1.0},
  {'step': 20, 'train/loss': 1.0, 'train/seconds': 2.5},
  {'step': 20, 'eval/top1': 0.75, 'eval/loss': 0.9},
]


def write(workdir, lines=LINES):
  workdir.mkdir(parents=True)
  config = smoke.get_config()
  config.batch_size = 4
  (workdir / 'config.json').write_text(json.dumps(plain(config)))
  (workdir / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
  return workdir


def test_images_seconds_and_values(tmp_path):
  run = curves.curves_of_run(write(tmp_path / 'run'))
  assert run.variant == 'run' and run.title == 'tiny_efficientnet on synthetic'
  assert run.curves['eval/top1'] == curves.Curve([40, 80], [3.0, 5.5], [0.5, 0.75])
  assert run.curves['train/loss'] == curves.Curve([40, 80], [3.0, 5.5], [2.0, 1.0])


def test_seeds_of_one_parent_are_a_group(tmp_path):
  names = ('kind=se/seed_0', 'kind=se/seed_1', 'kind=eca/seed_0', 'other')
  runs = [curves.curves_of_run(write(tmp_path / name)) for name in names]
  runs.append(curves.curves_of_run(write(tmp_path / 'kind=se/seed_2', LINES[:2])))
  groups = curves.by_variant(runs, 'eval/top1')
  assert {name: len(group) for name, group in groups.items()} == {
    'kind=se': 2, 'kind=eca': 1, 'other': 1, str(tmp_path / 'kind=se/seed_2'): 1}


def test_arrays_there_and_back(tmp_path):
  run = curves.curves_of_run(write(tmp_path / 'run'))
  (again,) = curves.from_arrays(curves.to_arrays([run]))
  assert (again.path, again.variant, again.title) == (run.path, run.variant, run.title)
  for key, curve in run.curves.items():
    for part, values in vars(curve).items():
      np.testing.assert_array_equal(getattr(again.curves[key], part), values)


def test_a_training_without_evaluation(tmp_path):
  with pytest.raises(UserError, match='has no evaluation in'):
    curves.curves_of_run(write(tmp_path / 'run', LINES[:1]))

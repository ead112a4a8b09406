"""The bench command: figures of a tiny network, and what a wrong flag is told."""

import argparse
import json
import re
import subprocess
import sys

import pytest

from ecanet_jax.cli import bench
from ecanet_jax.errors import UserError


def parse(*flags):
  parser = argparse.ArgumentParser()
  bench.add_arguments(parser)
  return parser.parse_args(flags)


@pytest.mark.slow
def test_measures_ours(tmp_path):
  target = tmp_path / 'figures.json'
  done = subprocess.run(
    [sys.executable, '-m', 'ecanet_jax', 'bench', '--model=tiny_efficientnet', '--image_size=32',
     '--batch_size=2', '--rounds=2', '--no_timm', f'--json={target}'],
    capture_output=True, text=True, timeout=400,
  )
  assert done.returncode == 0, done.stderr
  assert done.stderr == ''
  heading, columns, inference, train, where = done.stdout.splitlines()
  assert heading == 'tiny_efficientnet, batch 2, 32 x 32, float32, 2 rounds'
  assert columns.split() == ['mode', 'ecanet_jax', 'images/s']
  assert inference.startswith('inference') and train.startswith('train')
  assert 'jax' in where and 'CPU' in where
  (result,) = json.loads(target.read_text())
  for speeds in result['images_per_second'].values():
    assert list(speeds) == ['ours']
    assert len(speeds['ours']) == 2 and min(speeds['ours']) > 0


@pytest.mark.parametrize('flag, message', [
  ('--model=eficientnet_b0', "Did you mean 'efficientnet_b0'"),
  ('--mode=inference,trian', "Did you mean 'train'"),
  ('--dtype=bfloat61', "Did you mean 'bfloat16'"),
  ('--rounds=0', 'rounds=0 must be at least 1'),
  ('--threads=100000', 'threads=100000 must be'),
  ('--json=/no/such/folder/file', 'does not exist'),
])
def test_a_wrong_flag_is_told_before_anything_starts(flag, message, monkeypatch):
  monkeypatch.setattr(bench, 'measure', lambda *_: pytest.fail('started measuring'))
  with pytest.raises(UserError, match=message):
    bench.run(parse(flag))


def figures(setting, sides, rounds):
  speeds = {'ours': [10.0, 30.0, 20.0], 'timm': [20.0, 20.0, 20.0]}
  return {
    'setting': {**setting, 'rounds': rounds},
    'host': {'cpu': 'a CPU', 'cpus': 2, 'system': 'a system'},
    'device': dict.fromkeys(sides, 'CPU'),
    'versions': {'python': '3'},
    'images_per_second': {'train': {side: speeds[side] for side in sides}},
  }


def test_the_ratio_is_of_neighbouring_turns(monkeypatch, capsys):
  monkeypatch.setattr(bench, 'measure', figures)
  monkeypatch.setattr(bench.importlib.util, 'find_spec', lambda name: name)
  assert bench.run(parse('--mode=train', '--rounds=3')) == 0
  row = capsys.readouterr().out.splitlines()[2]
  assert re.split(' {2,}', row)[1:] == [
    '20.0 (10.0-30.0)', '20.0 (20.0-20.0)', '1.00 (0.50-1.50)',
  ]


def test_says_when_timm_is_not_installed(monkeypatch, capsys):
  monkeypatch.setattr(bench, 'measure', figures)
  monkeypatch.setattr(bench.importlib.util, 'find_spec', lambda name: None)
  assert bench.run(parse()) == 0
  assert 'torch and timm not installed: ours only. To compare: pip install' in (
    capsys.readouterr().out
  )


def test_says_when_timm_has_no_such_network(monkeypatch, capsys):
  monkeypatch.setattr(bench, 'measure', figures)
  assert bench.run(parse('--model=tiny_efficientnet')) == 0
  assert 'timm has no tiny_efficientnet' in capsys.readouterr().out


def test_a_side_that_fails_is_told_with_the_end_of_its_output():
  setting = {'model': 'no_such', 'modes': ['train'], 'threads': 0, 'dtype': 'float32',
             'batch_size': 1, 'image_size': 32}
  with pytest.raises(UserError, match=r'the ours side ended while starting:(.|\n)*no_such'):
    bench.measure(setting, ['ours'], 1)

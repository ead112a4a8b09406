"""Whole training steps, compiled for a TPU v5e without one. Minutes and gigabytes each."""

import importlib.util
import json

import pytest

from tests.support import programs

SECONDS = 1800
# Read from the programs of jax 0.10.2 and libtpu 0.0.42.1.
FIGURES = [('eca_b0', 99, 46.5e9, 173.3e6), ('eca_resnet', 99, 86.4e9, 232.7e6)]


@pytest.mark.slow
@pytest.mark.timeout(2 * SECONDS)
@pytest.mark.skipif(
  importlib.util.find_spec('libtpu') is None, reason='needs libtpu: pip install libtpu==0.0.42.1'
)
@pytest.mark.parametrize(('recipe', 'all_reduces', 'bytes_accessed', 'cycles'), FIGURES)
def test_training_step(recipe, all_reduces, bytes_accessed, cycles, tmp_path):
  file = tmp_path / 'figures.json'
  done = programs.finish(programs.start(
    '-m', 'ecanet_jax', 'compile', f'--config=configs/{recipe}.py', '--topology=v5e:2x2',
    '--config.batch_size=1024', '--config.compute_dtype=bfloat16', f'--json={file}',
  ), SECONDS)
  assert done.returncode == 0, done.stderr
  figures = json.loads(file.read_text())
  assert figures['faults'] == figures['warnings'] == figures['loops'] == []
  assert {group['kind'] for group in figures['collectives']} == {'all-reduce'}
  assert sum(group['count'] for group in figures['collectives']) == all_reduces
  batch = 256 * figures['image_size'] ** 2 * 3  # bytes of a chip's images
  assert figures['copies']['bytes'] < batch
  assert figures['cycles']['copies'] < 0.01 * sum(figures['cycles'].values())
  assert figures['memory']['peak'] < 0.8 * figures['hbm']
  assert figures['bytes_accessed'] < 1.1 * bytes_accessed
  assert sum(figures['cycles'].values()) < 1.1 * cycles

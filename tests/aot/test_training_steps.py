"""Whole training steps, compiled for TPUs and GPUs that are not there; minutes, gigabytes each."""

import pytest

from tests.support import aot

SECONDS = 1800
PER_CHIP, CHIPS = 256, 4
# All-reduces, bytes accessed, cycles; of the programs of jax 0.10.2 and libtpu 0.0.42.1.
TPU = [('eca_b0', 99, 44.7e9, 147.0e6), ('eca_resnet', 99, 86.4e9, 232.7e6)]
# All-reduces, bytes accessed, fusions that write less than 1 MB; of jax 0.10.2's CUDA plugin.
GPU = [('eca_b0', 99, 42.7e9, 1477), ('eca_resnet', 102, 68.1e9, 1456)]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * SECONDS)]


def training_step(recipe, topology, file):
  """The figures of a recipe's step in bfloat16, compiled in a process of its own."""
  figures = aot.figures(
    file, f'--config=configs/{recipe}.py', f'--topology={topology}',
    f'--config.batch_size={PER_CHIP * CHIPS}', '--config.compute_dtype=bfloat16', seconds=SECONDS,
  )
  assert figures['warnings'] == figures['loops'] == []
  assert {group['kind'] for group in figures['collectives']} == {'all-reduce'}
  assert figures['copies']['largest'] < PER_CHIP * figures['image_size'] ** 2 * 3  # the images
  assert figures['memory']['peak'] < 0.8 * figures['hbm']
  return figures


@aot.needs_libtpu
@pytest.mark.parametrize(('recipe', 'all_reduces', 'bytes_accessed', 'cycles'), TPU)
def test_on_a_tpu(recipe, all_reduces, bytes_accessed, cycles, tmp_path):
  figures = training_step(recipe, 'v5e:2x2', tmp_path / 'figures.json')
  assert set(figures['custom_calls']) <= aot.OWN_CALLS
  assert sum(group['count'] for group in figures['collectives']) == all_reduces
  assert figures['copies']['bytes'] < PER_CHIP * figures['image_size'] ** 2 * 3
  assert figures['cycles']['copies'] < 0.01 * sum(figures['cycles'].values())
  assert figures['bytes_accessed'] < 1.1 * bytes_accessed
  assert sum(figures['cycles'].values()) < 1.1 * cycles


@aot.needs_cuda_plugin
@pytest.mark.parametrize(('recipe', 'all_reduces', 'bytes_accessed', 'small'), GPU)
def test_on_gpus(recipe, all_reduces, bytes_accessed, small, tmp_path):
  figures = training_step(recipe, 'h100:4', tmp_path / 'figures.json')
  assert set(figures['custom_calls']) <= aot.OWN_GPU_CALLS
  assert sum(group['count'] for group in figures['collectives']) == all_reduces
  assert figures['bytes_accessed'] < 1.1 * bytes_accessed
  assert figures['fusions']['small'] <= small

"""The search for the largest batch, with programs whose memory is known."""

import types

import pytest

from ecanet_jax.aot.largest_batch import largest_batch
from ecanet_jax.aot.program import DoesNotFit
from ecanet_jax.aot.topologies import chip_of

HBM = chip_of('v5e:2x2').hbm


@pytest.mark.parametrize(('fixed', 'image', 'images'), [
  (0.2e9, 13e6, 1280), (0.2e9, 100e6, 128), (0.2e9, 150e6, 104), (0.2e9, 4e9, 4), (0.2e9, 17e9, 0),
  (17e9, 1e6, 0),
])
def test_search(fixed, image, images):
  tried, said = [], []

  def compile_at(batch_size):
    tried.append(batch_size)
    peak = int(fixed + image * batch_size / 8)
    if peak > HBM:
      raise DoesNotFit('does not fit: it needs much.')
    return types.SimpleNamespace(memory={'peak': peak}, batch_size=batch_size)

  found = largest_batch(compile_at, 'v5e:2x2', 8, said.append)
  assert (found.batch_size // 8 if found else 0) == images
  assert len(tried) == len(set(tried)) == len(said) < 12
  assert all(str(batch_size) in line for batch_size, line in zip(tried, said))


def test_a_compiler_that_saves_memory_is_not_followed_batch_by_batch():
  tried = []

  def compile_at(batch_size):
    tried.append(batch_size)
    if batch_size > 40_000:
      raise DoesNotFit('does not fit: it needs much.')
    return types.SimpleNamespace(memory={'peak': int(0.99 * HBM)}, batch_size=batch_size)

  assert largest_batch(compile_at, 'v5e:2x2', 1, lambda text: None).batch_size == 39_936
  assert len(tried) < 30

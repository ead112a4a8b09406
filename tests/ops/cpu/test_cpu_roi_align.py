"""RoIAlign: the kernel against the plain form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax.ops import roi_align as plain
from ecanet_jax.ops.cpu import roi_align as cpu

MAPS = ((9, 7), (4, 5))  # rows and columns


def rois(random, count, dtype):
  """RoIs on both maps: inside, across the borders, outside, and without area."""
  rows = []
  for number in range(count):
    (height, width), first = MAPS[number % 2], number % 2 * MAPS[0][0] * MAPS[0][1]
    top, left = random.uniform(-3, height), random.uniform(-3, width)
    rows.append([first, height, width, top, left, *random.uniform(0, 3, 2)])
  rows[0][3:] = [0, 0, 0, 0]
  rows[1][3:] = [-50, 2, 1, 1]
  return jnp.asarray(rows, dtype)


@pytest.mark.parametrize('dtype', ['float64', 'float32'])
@pytest.mark.parametrize('channels', [3, 16, 21])
def test_kernels_equal_the_reference(channels, dtype, load_kernels):
  load_kernels(dtype)
  with jax.enable_x64(dtype == 'float64'):
    random = np.random.default_rng(0)
    cells = jnp.asarray(random.normal(size=(sum(h * w for h, w in MAPS), channels)), dtype)
    boxes = rois(random, 12, dtype)

    def both(function):
      y, pull = jax.vjp(lambda cells: function(cells, boxes, 3, 2), cells)
      return y, *pull(jnp.sin(jnp.arange(y.size, dtype=dtype)).reshape(y.shape))

    mine, theirs = (
      jax.jit(both, static_argnums=0)(function) for function in (cpu.roi_align, plain.roi_align)
    )
    assert np.all(mine[0][1] == 0) and np.any(mine[0][0] != 0)
    for name, a, b in zip(('y', 'dcells'), mine, theirs, strict=True):
      assert a.dtype == b.dtype and a.shape == b.shape, name
      np.testing.assert_allclose(a, b, atol=1e-12 if dtype == 'float64' else 5e-6, err_msg=name)


def test_a_batch_is_one_call(load_kernels):
  load_kernels('float32')
  random = np.random.default_rng(1)
  cells = jnp.asarray(random.normal(size=(3, sum(h * w for h, w in MAPS), 5)), jnp.float32)
  boxes = jnp.stack([rois(random, 4, jnp.float32) for _ in range(3)])

  def total(function, cells):
    y = jax.vmap(functools.partial(function, size=2, samples=2))(cells, boxes)
    return jnp.sin(y).sum(), y

  (_, mine), slope = jax.value_and_grad(
    functools.partial(total, lambda a, b, size, samples: cpu.roi_align(a, b, size, samples)),
    has_aux=True)(cells)
  (_, theirs), expected = jax.value_and_grad(
    functools.partial(total, plain.roi_align), has_aux=True)(cells)
  np.testing.assert_allclose(mine, theirs, atol=5e-6)
  np.testing.assert_allclose(slope, expected, atol=5e-6)
  program = str(jax.make_jaxpr(jax.vmap(lambda a, b: cpu.roi_align(a, b, 2, 2)))(cells, boxes))
  assert program.count('ffi_call') == 1 and 'scan' not in program


def test_other_types_take_the_plain_form():
  cells, boxes = jnp.ones((63, 2), jnp.bfloat16), rois(np.random.default_rng(2), 2, jnp.float32)
  np.testing.assert_array_equal(
    cpu.roi_align(cells, boxes, 2, 2), plain.roi_align(cells, boxes, 2, 2))

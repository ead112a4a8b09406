"""Resizing: the kernel beside TensorFlow's operation, which test_decode.py holds to Pillow."""

import numpy as np
import pytest

from ecanet_jax.ops.resize import resizer

tf = pytest.importorskip('tensorflow')


@pytest.mark.parametrize('interpolation', ['bicubic', 'bilinear'])
@pytest.mark.parametrize('shape', [(50, 75), (31, 20), (224, 1), (1, 3), (7, 300)])
def test_it_is_tensorflows(shape, interpolation, load_kernels):
  from ecanet_jax.data import decode

  load_kernels('float32')
  image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
  for size in (1, 33, 64):
    ours = resizer()(image, size, interpolation).astype(int)
    theirs = decode.plain_resize(tf.constant(image), size, interpolation).numpy().astype(int)
    assert ours.shape == (size, size, 3)
    assert np.abs(ours - theirs).max() <= 1 and (ours != theirs).mean() < 0.01


def test_a_view_is_read_as_it_looks(load_kernels):
  load_kernels('float32')
  image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
  mirrored = image[:, ::-1]
  expected = resizer()(np.ascontiguousarray(mirrored), 16, 'bicubic')
  np.testing.assert_array_equal(resizer()(mirrored, 16, 'bicubic'), expected)

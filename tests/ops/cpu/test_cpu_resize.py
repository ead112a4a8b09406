"""Resizing: the kernel beside TensorFlow's operations, which test_decode.py holds to Pillow."""

import numpy as np
import pytest

from ecanet_jax.ops.cpu import kernels
from ecanet_jax.ops.cpu.resize import resizer

tf = pytest.importorskip('tensorflow')


@pytest.fixture
def resize():
  return resizer() or pytest.skip('needs a C++ compiler: g++ or clang++')


def picture(*shape):
  return tf.constant(np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8))


@pytest.mark.parametrize('interpolation', ['bicubic', 'bilinear'])
@pytest.mark.parametrize('shape', [(50, 75), (31, 20), (224, 1), (1, 3), (7, 300), (300, 310)])
def test_it_is_tensorflows(resize, shape, interpolation):
  from ecanet_jax.data.tfdata import decode

  image = picture(*shape)
  for size in (1, 33, 64, 224):
    ours = resize(image, size, interpolation).numpy().astype(int)
    theirs = decode.plain_resize(image, size, interpolation).numpy().astype(int)
    assert ours.shape == (size, size, 3)
    assert np.abs(ours - theirs).max() <= 1 and (ours != theirs).mean() < 0.01


@pytest.mark.parametrize('interpolation', ['bicubic', 'bilinear'])
@pytest.mark.parametrize('shape', [(50, 75), (20, 20), (300, 210)])
def test_a_window_is_a_part_of_the_whole(resize, shape, interpolation):
  from ecanet_jax.data.tfdata import decode

  image = picture(*shape)
  whole = resize(image, 40, interpolation).numpy().astype(int)
  for function in (resize, lambda *given: decode.plain_resize(*given[:3], given[4])):
    part = function(image, 16, interpolation, False, [40, 40, 3, 24]).numpy().astype(int)
    assert np.abs(part - whole[3:19, 24:40]).max() <= 1
  mirrored = resize(image, 16, interpolation, True, [40, 40, 3, 24])
  np.testing.assert_array_equal(
    mirrored[:, ::-1], resize(image, 16, interpolation, False, [40, 40, 3, 24]))


@pytest.mark.parametrize('window', [[8, 8, 0, 1], [8, 8, -1, 0], [7, 8, 0, 0], [8, 8, 0]])
def test_a_window_outside_is_refused(resize, window):
  with pytest.raises(tf.errors.InvalidArgumentError, match='window'):
    resize(picture(20, 20), 8, 'bilinear', False, window)


@pytest.mark.parametrize('size', [5, 40])
def test_mirrored_is_the_same_in_reverse(resize, size):
  image = picture(20, 30)
  plain, mirrored = (resize(image, size, 'bicubic', flag).numpy() for flag in (False, True))
  np.testing.assert_array_equal(mirrored, plain[:, ::-1])


@pytest.mark.parametrize('compiled', [False, True])
def test_without_the_kernel_it_is_mirrored_too(compiled, monkeypatch):
  from ecanet_jax.data.tfdata import decode

  monkeypatch.setattr(decode, 'resizer', lambda: None)

  def resized(*mirrored):
    function = lambda image: decode.resize(image, 16, 'bicubic', *mirrored)
    return (tf.function(function) if compiled else function)(picture(20, 30)).numpy()

  np.testing.assert_array_equal(resized(), resized(False))
  np.testing.assert_array_equal(resized(tf.constant(True)), resized()[:, ::-1])


def test_the_shape_is_known_in_a_graph(resize):
  function = tf.function(lambda image: resize(image, 8, 'bilinear'))
  signature = tf.TensorSpec([None, None, 3], tf.uint8)
  assert function.get_concrete_function(signature).output_shapes == [8, 8, 3]


@pytest.mark.parametrize('image', [np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_image_is_refused(resize, image):
  with pytest.raises(tf.errors.InvalidArgumentError, match=r'needs an image \[H, W, 3\]'):
    resize(tf.constant(image), 8, 'bilinear')


def test_without_a_compiler_there_is_none(monkeypatch, tmp_path, heard):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.setenv('CXX', 'false')
  assert kernels.operations.__wrapped__() is None
  assert 'CPU kernels are not used, which is slower: false failed' in heard.text
  monkeypatch.setenv('CXX', 'true')  # compiles nothing
  assert kernels.operations.__wrapped__() is None

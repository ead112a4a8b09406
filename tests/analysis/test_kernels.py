"""ECA's kernels, their frequency responses, and their picture."""

import jax
import numpy as np
import pytest

from ecanet_jax.analysis.kernels import Kernel, draw_kernels, from_arrays, kernels_of, to_arrays
from ecanet_jax.models import create_model
from ecanet_jax.runtime.errors import UserError

IMAGE = np.zeros((1, 32, 32, 3), np.float32)


def made(**attention):
  model = create_model('tiny_efficientnet', num_classes=2, attention=attention)
  return model, model.init(jax.random.key(1), IMAGE, train=False)


def test_kernels_are_the_parameters():
  model, variables = made(kind='eca')
  run = kernels_of(model, variables, 'title')
  assert [kernel.block for kernel in run.kernels] == [block.name for block in model.blocks()]
  for kernel, block in zip(run.kernels, model.blocks(), strict=True):
    slot = model.slot(block)
    assert (kernel.channels, kernel.k) == (slot.channels, slot.k)
    np.testing.assert_array_equal(
      kernel.weights, variables['params'][block.name]['attention']['kernel'])
  assert [kernel.block for kernel in kernels_of(model, variables, 't', ['conv_3_1']).kernels] == [
    'blocks_1_0']


def test_the_response_is_a_fourier_transform():
  weights = np.random.default_rng(0).normal(size=5)
  frequencies, gain = Kernel('b', 8, weights).response()
  np.testing.assert_allclose(gain, np.abs(np.fft.rfft(weights, 256)), rtol=1e-12)
  np.testing.assert_allclose(frequencies, np.linspace(0, np.pi, 129))


def test_picture_and_arrays(tmp_path):
  run = kernels_of(*made(kind='eca'), 'title')
  again = from_arrays(to_arrays([run, run]))
  assert len(again) == 2 and again[0].title == run.title
  figure = draw_kernels(again, tmp_path / 'kernel.png')
  assert (tmp_path / 'kernel.png').stat().st_size > 10_000
  for part in figure.subfigs:
    size, passed, *stems = part.axes
    assert len(passed.lines) == len(stems) == len(run.kernels)
    np.testing.assert_array_equal(size.lines[1].get_ydata(), [kernel.k for kernel in run.kernels])
    for axes, kernel in zip(stems, run.kernels, strict=True):
      np.testing.assert_array_equal(axes.lines[1].get_ydata(), kernel.weights)


@pytest.mark.parametrize('kind', ['none', 'se', 'eca_ns'])
def test_other_attention_has_no_such_kernel(kind):
  with pytest.raises(UserError, match=f"attention '{kind}' has no kernel that all channels share"):
    kernels_of(*made(kind=kind), 'title')

"""Averaged channels against the layer before them, and periodic windows."""

import numpy as np
import pytest

from ecanet_jax.analysis.gap import (
  Gap,
  as_seen,
  draw_gap,
  from_arrays,
  squeezed_channels,
  to_arrays,
)
from ecanet_jax.analysis.statistics import strongest_window
from ecanet_jax.models import create_model
from ecanet_jax.models.intermediates import attention_views
from tests.support.random_variables import random_variables

IMAGES = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype(np.float32)


def made(**attention):
  model = create_model('tiny_efficientnet', num_classes=2, attention=attention)
  return model, random_variables(model)


@pytest.mark.parametrize('kind', ['se', 'eca'])
def test_they_are_what_the_attention_gets(kind):
  model, variables = made(kind=kind)
  found = squeezed_channels(model)(variables, IMAGES)
  views = attention_views(model, variables, IMAGES)
  assert list(found) == list(views)
  for name, view in views.items():
    np.testing.assert_allclose(found[name], view['squeeze'][:, 0, 0], rtol=1e-5, atol=1e-6)


def test_without_attention_they_are_means_of_the_same_layer():
  model, variables = made(kind='none')
  found = squeezed_channels(model)(variables, IMAGES)
  _, seen = model.apply(
    variables, IMAGES, train=False,
    capture_intermediates=lambda module, _: module.name == 'depthwise_bn',
  )
  assert len(found) == len(list(model.blocks()))
  for name, means in found.items():
    (output,) = seen['intermediates'][name]['depthwise_bn']['__call__']
    np.testing.assert_allclose(means, output.mean((1, 2)), rtol=1e-5, atol=1e-6)


def test_the_window_that_repeats():
  random = np.random.default_rng(4)
  curve = random.normal(size=256)
  curve[128:192] = 3 * np.sin(2 * np.pi * np.arange(64) / 8)
  found = strongest_window(curve)
  assert found.found and found.first == 128 and found.width == 64 and found.lag == 8
  noise = [strongest_window(random.normal(size=256)).found for _ in range(10)]
  assert sum(noise) <= 3  # 5 % of 10 are expected


def test_picture_and_arrays(tmp_path):
  random = np.random.default_rng(5)
  run = Gap('a', {'blocks_2_0': random.random((2, 80)), 'blocks_2_1': random.random((2, 80))})
  photographs = [(name, np.full((8, 8, 3), 9, np.uint8)) for name in 'xy']
  again, (copy,) = from_arrays(to_arrays(photographs, [run]))
  assert [name for name, _ in again] == ['x', 'y'] and copy.title == 'a'
  figure = draw_gap(again, [copy], tmp_path / 'gap.png')
  panels = [axes for part in figure.subfigs for axes in part.axes if axes.lines]
  for axes, values in zip(panels, run.blocks.values(), strict=True):
    for line, row in zip(axes.lines, values, strict=True):
      np.testing.assert_array_equal(line.get_ydata(), row)
  assert -1 <= run.similarity('blocks_2_0') <= 1
  assert np.isnan(Gap('a', {'b': np.ones((1, 4))}).similarity('b'))


def test_an_image_as_the_network_saw_it():
  pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
  data = {'mean': (0.4, 0.5, 0.6), 'std': (0.2, 0.3, 0.4)}
  image = (pixels / 255 - np.array(data['mean'])) / np.array(data['std'])
  np.testing.assert_array_equal(as_seen(image.astype(np.float32), data), pixels)

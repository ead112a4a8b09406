"""A map on the photograph: what lies where."""

import numpy as np
import pytest
from PIL import Image

from ecanet_jax.analysis.cam.overlay import coloured, on_photograph
from ecanet_jax.inference.images import crop_geometry, resize_and_crop

DATA = {'image_size': 224, 'crop_fraction': 0.875, 'interpolation': 'bilinear'}
CELLS = 14


@pytest.mark.parametrize('mode', ['center', 'squash'])
@pytest.mark.parametrize(('width', 'height'), [(300, 300), (640, 300), (200, 512)])
def test_a_bright_square_is_found_where_it_is(width, height, mode):
  data = {**DATA, 'crop_mode': mode}
  left, top, side = width // 2 - 20, height // 2 - 60, 24
  pixels = np.zeros((height, width, 3), np.uint8)
  pixels[top : top + side, left : left + side] = 255
  seen = np.asarray(resize_and_crop(Image.fromarray(pixels), data))[..., 0].astype(float)
  values = seen.reshape(CELLS, 224 // CELLS, CELLS, 224 // CELLS).mean((1, 3))
  heat, inside = on_photograph(values, (width, height), data)
  assert heat.shape == inside.shape == (height, width)
  weights = heat / heat.sum()
  rows, columns = (weights.sum(axis) for axis in (1, 0))
  sides, _ = crop_geometry((width, height), data)
  assert abs((rows * np.arange(height)).sum() - (top + (side - 1) / 2)) < 3 * height / sides[1]
  assert abs((columns * np.arange(width)).sum() - (left + (side - 1) / 2)) < 3 * width / sides[0]


def test_what_the_network_has_seen():
  _, inside = on_photograph(np.ones((7, 7)), (640, 320), DATA)
  # The shorter side becomes 256, of which 224 are seen.
  assert inside.any(0).sum() == pytest.approx(320 * 224 / 256, abs=2)
  assert inside.any(1).sum() == pytest.approx(320 * 224 / 256, abs=2)
  _, inside = on_photograph(np.ones((7, 7)), (640, 320), {**DATA, 'crop_fraction': 1.0})
  assert inside.any(1).all()


def test_values_are_those_of_the_cells_at_their_centres():
  values = np.random.default_rng(0).normal(size=(4, 4))
  data = {'image_size': 32, 'crop_fraction': 1.0, 'interpolation': 'bilinear'}
  heat, inside = on_photograph(values, (36, 36), {**data, 'image_size': 36})
  assert inside.all()
  np.testing.assert_allclose(heat[4::9, 4::9], values)


def test_colours():
  grey = Image.new('RGB', (64, 64), (100, 100, 100))
  values = np.array([[1.0, 0.0], [-1.0, 0.0]])
  data = {'image_size': 64, 'crop_fraction': 0.5, 'interpolation': 'bilinear'}
  pixels = np.asarray(coloured(grey, values, data)).astype(int)
  assert (pixels[0, 0] == 45).all()  # not seen
  red, blue = pixels[20, 20], pixels[44, 44]
  assert red[0] > red[2] and blue[2] > blue[0]
  half = np.asarray(coloured(grey, values, data, largest=2.0)).astype(int)
  assert (half[20, 20] != red).any()

"""A weights folder of a small network with random weights."""

from ecanet_jax import create_model
from ecanet_jax.models import network
from ecanet_jax.weights import to_torch, write_folder
from tests.support.random_variables import random_variables

MODEL = create_model('tiny_efficientnet', num_classes=10)
PREPROCESSING = {
  'mean': (0.5, 0.4, 0.3), 'std': (0.2, 0.2, 0.1), 'interpolation': 'bilinear',
  'crop_fraction': 0.9, 'image_size': 64,
}


def write(directory, seed=0, exif='ignore', **changes):
  """Writes the folder and returns its state dict."""
  state, data = to_torch(MODEL, random_variables(MODEL, seed)), PREPROCESSING | {'exif': exif}
  write_folder(directory, network('tiny_efficientnet'), MODEL, state, data, **changes)
  return state

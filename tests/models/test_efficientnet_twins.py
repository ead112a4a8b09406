"""EfficientNet computes what timm's EfficientNet computes, on the same random weights."""

import jax
import numpy as np
import pytest
import torch

from ecanet_jax import create_model
from ecanet_jax.models import list_models, network
from ecanet_jax.weights import from_torch, to_torch
from ecanet_jax.weights.convert import model_shapes
from tests import torchvision_shim  # noqa: F401
from tests.weights.random_variables import random_variables

timm = pytest.importorskip('timm')

TWINS = (
  'efficientnet_b0', 'eca_efficientnet_b0', 'tf_efficientnet_b0', 'tf_efficientnet_lite0',
)


def make_twin(name, **arguments):
  record = network(name)
  return timm.create_model(record.timm, **{**record.timm_arguments, **arguments}).eval()


def compiled(model):
  """Logits of the model; compiled quickly rather than to be fast."""
  apply = lambda variables, images: model.apply(variables, images, train=False)
  return jax.jit(apply, compiler_options={'xla_backend_optimization_level': 0})


def twin_logits(twin, images):
  with torch.no_grad():
    return twin(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()


def relative(a, b):
  return np.abs(a - b).max() / np.abs(b).max()


# An odd size tells TensorFlow's padding from PyTorch's in every stage, an even one in the stem.
@pytest.mark.parametrize(
  ('name', 'size', 'depthwise'),
  [(name, 224, 'auto') for name in TWINS]
  + [(name, 225, 'lax') for name in TWINS[1:3]]
  + [pytest.param(name, 225, 'auto', marks=pytest.mark.slow) for name in TWINS],
)
def test_logits_equal_timms_in_both_directions(name, size, depthwise):
  model = create_model(name, num_classes=50, depthwise=depthwise)
  twin = make_twin(name, num_classes=50)
  images = np.random.default_rng(1).normal(size=(1, size, size, 3)).astype(np.float32)
  ours = compiled(model)

  randomise_statistics(twin)  # timm's weights here
  variables = from_torch(model, {k: v.numpy().copy() for k, v in twin.state_dict().items()})
  assert relative(np.asarray(ours(variables, images)), twin_logits(twin, images)) < 1e-5

  variables = random_variables(model)  # our weights there
  twin.load_state_dict({k: torch.from_numpy(v) for k, v in to_torch(model, variables).items()})
  logits = np.asarray(ours(variables, images))
  assert np.isfinite(logits).all() and logits.std() > 0.1
  assert relative(logits, twin_logits(twin, images)) < 1e-5


def randomise_statistics(twin):
  generator = torch.Generator().manual_seed(2)
  for module in twin.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
      module.running_mean.normal_(0, 0.2, generator=generator)
      module.running_var.uniform_(0.5, 2, generator=generator)
      module.weight.data.uniform_(0.7, 1.4, generator=generator)
      module.bias.data.normal_(0, 0.2, generator=generator)


@pytest.mark.parametrize('name', [name for name in list_models() if network(name).timm])
def test_every_record_names_a_timm_network_with_the_same_arrays(name):
  with torch.device('meta'):
    twin = make_twin(name)
  theirs = {key: tuple(tensor.shape) for key, tensor in twin.state_dict().items()}
  model = create_model(name)
  zeros = jax.tree.map(lambda a: np.zeros(a.shape, np.float32), model_shapes(model))
  ours = {key: array.shape for key, array in to_torch(model, zeros).items()}
  assert ours == theirs
  assert list(ours) == list(theirs)  # the order too: files are the same, byte for byte

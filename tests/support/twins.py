"""The same network in timm beside ours: for the tests that compare the two."""

import jax
import numpy as np
import pytest
import torch

from ecanet_jax import create_model, list_models
from ecanet_jax.models import network
from ecanet_jax.nn.parameter_shapes import variable_shapes
from ecanet_jax.weights import from_torch, to_torch
from tests.support.random_variables import random_variables

timm = pytest.importorskip('timm')


def names(*families):
  """The registered networks of exactly these families that timm has too."""
  return [
    name for name in list_models() if network(name).timm and network(name).family in families
  ]


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


def randomise_statistics(twin):
  generator = torch.Generator().manual_seed(2)
  for module in twin.modules():
    if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):  # keeps deep logits near 1
      fan_in = module.weight[0].numel()
      module.weight.data.normal_(0, (1.5 / fan_in) ** 0.5, generator=generator)
    if isinstance(module, torch.nn.BatchNorm2d):
      module.running_mean.normal_(0, 0.2, generator=generator)
      module.running_var.uniform_(0.5, 2, generator=generator)
      module.weight.data.uniform_(0.7, 1.4, generator=generator)
      module.bias.data.normal_(0, 0.2, generator=generator)


def check_bytes(model, state, dialect):
  """Asserts that what is imported is exported again to the bit, in the same order."""
  back = to_torch(model, from_torch(model, state, dialect), dialect)
  assert list(back) == list(state)
  for key, array in back.items():
    assert array.dtype == state[key].dtype and array.tobytes() == state[key].tobytes(), key


def check_logits(name, size, classes, dialect='timm', branch=1.0, **arguments):
  """Asserts equal logits with timm's weights, imported, and with ours, exported; and equal bytes.

  Args:
    name: of the network.
    size: of the image, in pixels.
    classes: how many.
    dialect: of timm's keys.
    branch: what the last BatchNorm of every bottleneck is multiplied with.
    **arguments: fields of our model.
  """
  model = create_model(name, num_classes=classes, **arguments)
  twin = make_twin(name, num_classes=classes)
  images = np.random.default_rng(1).normal(size=(1, size, size, 3)).astype(np.float32)
  ours = compiled(model)

  randomise_statistics(twin)  # timm's weights here
  for module_name, module in twin.named_modules():
    if module_name.startswith('layer') and module_name.endswith('.bn3'):
      module.weight.data *= branch
      module.bias.data *= branch
  state = {key: tensor.numpy().copy() for key, tensor in twin.state_dict().items()}
  variables = from_torch(model, state, dialect)
  difference = relative(np.asarray(ours(variables, images)), twin_logits(twin, images))
  print(f'{name}: {difference:.1e} with the weights of timm')
  assert difference < 1e-5
  check_bytes(model, state, dialect)

  variables = random_variables(model)  # our weights there
  for module_name, module in variables['params'].items():
    if module_name.startswith('blocks') and 'conv_3_bn' in module:
      for array in ('scale', 'bias'):
        module['conv_3_bn'][array] *= branch
  state = to_torch(model, variables, dialect)
  twin.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})
  logits = np.asarray(ours(variables, images))
  assert np.isfinite(logits).all() and logits.std() > 0.1
  difference = relative(logits, twin_logits(twin, images))
  print(f'{name}: {difference:.1e} with our weights')
  assert difference < 1e-5


def exported_shapes(model, dialect='timm'):
  """Keys and shapes of the state dict that we write, in its order."""
  zeros = jax.tree.map(lambda a: np.broadcast_to(np.float32(0), a.shape), variable_shapes(model))
  return {key: array.shape for key, array in to_torch(model, zeros, dialect).items()}


def check_arrays(model, twin, dialect='timm'):
  """Asserts that both state dicts have the same keys, shapes and order."""
  theirs = {key: tuple(tensor.shape) for key, tensor in twin.state_dict().items()}
  ours = exported_shapes(model, dialect)
  assert ours == theirs
  assert list(ours) == list(theirs)  # the order too: files are the same, byte for byte


def check_twin(model, twin, dialect, size):
  """Asserts equal logits on the twin's random weights, imported, and on ours, exported."""
  check_arrays(model, twin, dialect)
  images = np.random.default_rng(1).normal(size=(1, size, size, 3)).astype(np.float32)
  ours = compiled(model)
  randomise_statistics(twin.eval())
  state = {key: tensor.numpy().copy() for key, tensor in twin.state_dict().items()}
  logits = np.asarray(ours(from_torch(model, state, dialect), images))
  difference = relative(logits, twin_logits(twin, images))
  print(f'{dialect}: {difference:.1e} with their weights')
  assert difference < 1e-5
  check_bytes(model, state, dialect)

  variables = random_variables(model)
  state = to_torch(model, variables, dialect)
  twin.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()}, strict=True)
  logits = np.asarray(ours(variables, images))
  assert np.isfinite(logits).all() and logits.std() > 0.1
  difference = relative(logits, twin_logits(twin, images))
  print(f'{dialect}: {difference:.1e} with ours')
  assert difference < 1e-5

"""One training step against a PyTorch twin: loss, gradients, parameters, BatchNorm statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from timm.models.efficientnet import _gen_efficientnet

from ecanet_jax import create_model
from ecanet_jax.config import schema
from ecanet_jax.runtime import sharding
from ecanet_jax.tasks.classification import Classification
from ecanet_jax.training.optimizer import make_optimizer
from ecanet_jax.training.state import TrainState, ema_decay
from ecanet_jax.training.step import make_train_step
from ecanet_jax.weights.convert import from_torch, to_torch

RATE = 0.05


@pytest.fixture(scope='module', params=[0.25, pytest.param(1.0, marks=pytest.mark.slow)])
def both(request):
  """The states before and after one step, and a twin after the same step; one depth is B0's."""
  depth = request.param
  config = schema.get_config()
  config.model.num_classes, config.data.image_size, config.batch_size = 10, 96, 8
  config.optimizer.name, config.optimizer.weight_decay = 'sgd', 1e-4
  config.ema.decay = 0.9
  torch.manual_seed(0)
  twin = _gen_efficientnet(
    'efficientnet_b0', depth_multiplier=depth, se_layer='eca', num_classes=10, drop_rate=0.0,
    drop_path_rate=0.0,
  )
  model = create_model(
    'eca_efficientnet_b0', depth=depth, num_classes=10, dropout=0.0, drop_path=0.0
  )
  variables = from_torch(model, {key: value.numpy() for key, value in twin.state_dict().items()})
  variables = jax.tree.map(jnp.array, variables)
  random = np.random.RandomState(0)
  batch = {
    'image': random.randint(0, 256, (8, 96, 96, 3)).astype(np.uint8),
    'label': random.randint(0, 10, 8).astype(np.int32),
  }
  schedule = lambda step: jnp.float32(RATE)
  tx, task = make_optimizer(config, schedule), Classification(config)
  mesh = sharding.make_mesh(1)
  state = TrainState(
    step=jnp.int32(0), variables=variables, ema=jax.tree.map(jnp.array, variables),
    opt_state=tx.init(variables['params']), rng=jax.random.key_data(jax.random.key(0)),
  )
  state = jax.device_put(state, sharding.replicated(mesh))
  before = jax.device_get(state)
  step = make_train_step(model, task, tx, schedule, config, mesh).lower(state, batch)
  # Run once: quick to compile matters more than fast to run.
  step = step.compile(compiler_options={'xla_backend_optimization_level': 0})
  after, metrics = step(state, sharding.put_batch(batch, mesh))

  twin.train()
  decays = [p for name, p in twin.named_parameters() if 'bn' not in name]
  plain = [p for name, p in twin.named_parameters() if 'bn' in name]
  optimizer = torch.optim.SGD(
    [{'params': decays, 'weight_decay': 1e-4}, {'params': plain}], lr=RATE, momentum=0.9
  )
  images = (batch['image'] / 255.0 - config.data.mean) / np.array(config.data.std)
  outputs = twin(torch.tensor(images.transpose(0, 3, 1, 2), dtype=torch.float32))
  loss = torch.nn.functional.cross_entropy(
    outputs, torch.tensor(batch['label'], dtype=torch.long), label_smoothing=0.1
  )
  loss.backward()
  gradients = {name: p.grad.numpy().copy() for name, p in twin.named_parameters()}
  optimizer.step()
  return {
    'model': model, 'before': before, 'after': jax.device_get(after),
    'metrics': jax.device_get(metrics), 'twin': twin, 'loss': loss.item(),
    'gradients': gradients, 'config': config,
  }


def compare(ours, theirs, tolerance):
  """Relative to each tensor's largest value.

  A bias before a BatchNorm with nothing but a convolution between has a gradient of exactly 0, and
  both sides have their own rounding there: a millionth of the largest value of all is allowed.
  """
  largest = max(np.abs(value).max() for value in theirs.values())
  for key, value in theirs.items():
    error = np.abs(ours[key] - value).max()
    allowed = tolerance * np.abs(value).max() + 1e-6 * largest
    assert error < allowed, f'{key}: {error} > {allowed}'


def test_loss(both):
  assert both['metrics']['loss'] == pytest.approx(both['loss'], rel=1e-5)


def test_every_gradient(both):
  # SGD's momentum buffer after one step is gradient + weight decay; take the decay off again.
  stats = both['before'].variables['batch_stats']
  trace = optax.tree.get(both['after'].opt_state, 'trace')
  ours = to_torch(both['model'], {'params': trace, 'batch_stats': stats})
  old = to_torch(both['model'], both['before'].variables)
  for key in both['gradients']:
    if 'bn' not in key:
      ours[key] = ours[key] - 1e-4 * old[key]
  compare(ours, both['gradients'], 1e-4)


def test_updated_parameters_and_statistics(both):
  ours = to_torch(both['model'], both['after'].variables)
  theirs = {k: v.numpy() for k, v in both['twin'].state_dict().items() if 'tracked' not in k}
  compare(ours, theirs, 1e-4)


def test_average_of_parameters_and_statistics(both):
  decay = float(ema_decay(both['config'], jnp.int32(0)))
  assert decay == pytest.approx(0.1)
  expected = jax.tree.map(
    lambda old, new: decay * old + (1 - decay) * new,
    both['before'].variables, both['after'].variables,
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), both['after'].ema, expected
  )


def test_average_warms_up():
  config = schema.get_config()
  assert float(ema_decay(config, jnp.int32(90))) == pytest.approx(91 / 100)
  assert float(ema_decay(config, jnp.int32(10**6))) == pytest.approx(0.9999)
  config.ema.warmup = False
  assert float(ema_decay(config, jnp.int32(0))) == pytest.approx(0.9999)

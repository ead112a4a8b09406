"""100 steps of two recipes beside a PyTorch twin that is trained by the same recipe's own words.

The twin begins with our weights and sees the same batches of the handwritten digits; augmentation,
dropout and drop-path are off. Its schedule and its set of decaying parameters are written here.
"""

import jax
import numpy as np
import pytest
import timm
import torch
from sklearn.datasets import load_digits

from configs import eca_b0, eca_resnet
from ecanet_jax.models import network
from ecanet_jax.training import sharding
from ecanet_jax.training.optimizer import make_optimizer
from ecanet_jax.training.schedule import make_schedule
from ecanet_jax.training.state import init_state
from ecanet_jax.training.step import make_train_step
from ecanet_jax.training.task import Classification
from ecanet_jax.training.trainer import make_model
from ecanet_jax.weights import to_torch

STEPS, STEPS_PER_EPOCH = 100, 10.0  # so that the schedules move within 100 steps


def batches(batch_size, pixels):
  """The digits, enlarged, in noise, in a random order without end.

  In evenly coloured areas the maximum of several pixels would be a matter of rounding.
  """
  data, random = load_digits(), np.random.RandomState(0)
  for _ in range(STEPS):
    chosen = random.randint(0, len(data.target), batch_size)
    digit = data.images[chosen].repeat(pixels // 8, 1).repeat(pixels // 8, 2)[..., None] * 8
    noise = random.randint(0, 128, (batch_size, pixels, pixels, 3))
    yield {'image': (digit + noise).clip(0, 255).astype(np.uint8),
           'label': data.target[chosen].astype(np.int32)}


def our_losses(config, data):
  """Our trainer's step on the batches; the state dict at the start and the losses."""
  mesh = sharding.make_mesh(1)
  model, task = make_model(config, config.model.num_classes), Classification(config)
  schedule = make_schedule(config, STEPS_PER_EPOCH, round(config.epochs * STEPS_PER_EPOCH))
  tx = make_optimizer(config, schedule)
  state = jax.jit(
    lambda: init_state(model, tx, config, task.example()),
    compiler_options={'xla_backend_optimization_level': 0},
    out_shardings=sharding.replicated(mesh),
  )()
  start = to_torch(model, jax.device_get(state.variables))
  step = make_train_step(model, task, tx, schedule, config, mesh)
  losses = []
  for batch in data:
    state, metrics = step(state, sharding.put_batch(batch, mesh))
    losses.append(float(metrics['loss']))
  return start, losses


def twin_losses(config, start, data, make, rate, smoothing, dtype=torch.float32):
  """The same in PyTorch.

  Args:
    config: of the network's name and size.
    start: state dict.
    data: batches.
    make: twin -> optimizer.
    rate: step -> learning rate.
    smoothing: of the labels.
    dtype: the twin computes in.
  """
  record = network(config.model.name)
  twin = timm.create_model(
    record.timm, num_classes=10, drop_rate=0.0, drop_path_rate=0.0, **record.timm_arguments
  )
  twin.load_state_dict({key: torch.tensor(value) for key, value in start.items()})
  twin = twin.to(dtype).train()
  optimizer, losses = make(twin), []
  mean = torch.tensor([0.485, 0.456, 0.406], dtype=dtype)[:, None, None]
  std = torch.tensor([0.229, 0.224, 0.225], dtype=dtype)[:, None, None]
  for step, batch in enumerate(data):
    for group in optimizer.param_groups:
      group['lr'] = rate(step)
    images = torch.tensor(batch['image'].transpose(0, 3, 1, 2).copy(), dtype=dtype) / 255
    loss = torch.nn.functional.cross_entropy(
      twin((images - mean) / std), torch.tensor(batch['label']).long(), label_smoothing=smoothing
    )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
  return losses


def resnet18():
  """ECA-ResNet-18 by configs/eca_resnet.py: SGD, 0.1 at batch 256, L2 1e-4 on every parameter."""
  config = eca_resnet.get_config()
  config.model.name, config.data.image_size, config.batch_size = 'eca_resnet18', 48, 32
  make = lambda twin: torch.optim.SGD(
    twin.parameters(), lr=1.0, momentum=0.9, weight_decay=1e-4
  )
  return config, {'make': make, 'rate': lambda step: 0.1 * 32 / 256, 'smoothing': 0.0}


def b0():
  """B0 with ECA by configs/eca_b0.py: RMSProp as TensorFlow's, L2 1e-5 on all but BatchNorm."""
  config = eca_b0.get_config()
  config.data.image_size, config.batch_size, config.compute_dtype = 64, 32, 'float32'
  config.model.dropout = config.model.drop_path = 0.0

  def make(twin):
    named = list(twin.named_parameters())
    groups = [
      {'params': [p for name, p in named if 'bn' not in name], 'weight_decay': 1e-5},
      {'params': [p for name, p in named if 'bn' in name], 'weight_decay': 0.0},
    ]
    return timm.optim.RMSpropTF(groups, lr=1.0, alpha=0.9, eps=1e-3, momentum=0.9)

  def rate(step):
    peak = 0.016 * 32 / 256
    return peak * step / 50 if step < 50 else peak * 0.97 ** (step // 24)

  return config, {'make': make, 'rate': rate, 'smoothing': 0.1}


def compare(recipe, dtype=torch.float32):
  """Losses of both sides and the largest relative deviation."""
  config, words = recipe()
  config.model.num_classes = 10
  data = list(batches(config.batch_size, config.data.image_size))
  start, ours = our_losses(config, data)
  theirs = twin_losses(config, start, data, dtype=dtype, **words)
  ours, theirs = np.array(ours), np.array(theirs)
  return ours, theirs, np.abs(ours / theirs - 1)


@pytest.mark.slow
@pytest.mark.parametrize('recipe', [resnet18, b0])
def test_the_loss_is_the_twins_at_every_step(recipe):
  ours, theirs, deviation = compare(recipe)
  worst = int(deviation.argmax())
  print(
    f'{recipe.__name__}: loss {ours[0]:.4f} -> {ours[-10:].mean():.4f}, largest deviation '
    f'{100 * deviation[worst]:.3f} % at step {worst}'
  )
  assert ours[-10:].mean() < 0.5 * ours[0]  # it learns
  assert deviation.max() < 0.01

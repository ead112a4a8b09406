"""100 steps of two recipes in float64 on the handwritten digits: our trainer's step and a twin's.

Both begin with the same weights and see the same batches. Augmentation, dropout and drop-path are
off.
"""

import jax
import jax.numpy as jnp
import numpy as np
import timm.optim
import torch
from sklearn.datasets import load_digits

from benchmarks.twin.training import TorchTraining
from configs import eca_b0, eca_resnet
from ecanet_jax.models import create_from_config, network
from ecanet_jax.runtime import sharding
from ecanet_jax.tasks.classification import Classification
from ecanet_jax.training.optimizer import make_optimizer
from ecanet_jax.training.schedule import make_schedule
from ecanet_jax.training.state import TrainState
from ecanet_jax.training.step import make_train_step
from ecanet_jax.weights import to_torch

STEPS, STEPS_PER_EPOCH = 100, 10.0  # so that the schedules move within 100 steps
MEAN, STD = np.array([[[[0.485, 0.456, 0.406]]]]), np.array([[[[0.229, 0.224, 0.225]]]])


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


class InDouble(Classification):
  """The task with images as float64."""

  def inputs(self, batch):
    images = batch['image'].astype(jnp.float64) / 255
    return (images - MEAN) / STD


def our_losses(config, data, **fields):
  """Our trainer's step on the batches: the first state dict, the losses, the last parameters.

  `fields` of the network say how it is computed.
  """
  mesh = sharding.make_mesh(1)
  task = InDouble(config)
  model = create_from_config(config.model)
  init = lambda: model.init(jax.random.key(0), task.example(), train=False)
  variables = jax.device_get(
    jax.jit(init, compiler_options={'xla_backend_optimization_level': 0})()
  )
  start = to_torch(model, variables)
  with jax.enable_x64(True):
    model = create_from_config(config.model, dtype=jnp.float64, **fields)
    schedule = make_schedule(config, STEPS_PER_EPOCH, round(config.epochs * STEPS_PER_EPOCH))
    tx = make_optimizer(config, schedule)
    double = lambda: jax.tree.map(lambda array: jnp.array(array, jnp.float64), variables)
    params = double()
    state = TrainState(
      step=jnp.int32(0), variables=params, ema=double() if config.ema.decay else {},
      opt_state=tx.init(params['params']), rng=jax.random.key_data(jax.random.key(0)),
    )
    state = jax.device_put(state, sharding.replicated(mesh))
    step = make_train_step(model, task, tx, schedule, config, mesh)
    fast = {'xla_backend_optimization_level': 3}
    step = step.lower(state, sharding.put_batch(data[0], mesh)).compile(compiler_options=fast)
    losses = []
    for batch in data:
      state, metrics = step(state, sharding.put_batch(batch, mesh))
      losses.append(float(metrics['loss']))
  return start, losses, jax.device_get(state.variables['params'])


def twin_losses(config, start, data, make, rate, smoothing, dtype=torch.float64):
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
  twin = twin.to(dtype)
  training = TorchTraining(twin, make(twin), MEAN, STD, smoothing, dtype)
  # Our learning rate is a float32.
  return [training.step(batch, float(np.float32(rate(step)))) for step, batch in enumerate(data)]


def resnet18():
  """ECA-ResNet-18 by configs/eca_resnet.py: SGD, 0.1 at batch 256, L2 1e-4 on every parameter."""
  config = eca_resnet.get_config()
  config.model.name, config.data.image_size, config.batch_size = 'eca_resnet18', 32, 16
  make = lambda twin: torch.optim.SGD(
    twin.parameters(), lr=1.0, momentum=0.9, weight_decay=1e-4
  )
  return config, {'make': make, 'rate': lambda step: 0.1 * 16 / 256, 'smoothing': 0.0}


def b0():
  """B0 with ECA by configs/eca_b0.py: RMSProp as TensorFlow's, L2 1e-5 on all but BatchNorm."""
  config = eca_b0.get_config()
  config.data.image_size, config.batch_size = 32, 32
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

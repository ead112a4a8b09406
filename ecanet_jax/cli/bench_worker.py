"""One side of `python -m ecanet_jax bench`, in a process of its own: our network, or timm's.

Started as `python -m ecanet_jax.cli.bench_worker SIDE JSON`. It builds the network, compiles each
mode, says so in JSON lines on its standard output, and then answers every line `{"mode", "calls"}`
on its standard input with the seconds that so many calls took. It ends when its input does.
"""

import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

CLASSES = 1000
LEARNING_RATE, MOMENTUM = 1e-3, 0.9


def ours(setting: dict[str, Any]) -> tuple[str, dict[str, Callable[[int], None]]]:
  """Our network under jit on one device; returns the device and a function for each mode.

  A function makes so many calls and returns when the last has been computed. Dropout and drop-path
  are off on both sides, so that both do the same work.
  """
  import jax
  import jax.numpy as jnp
  import numpy as np

  from ecanet_jax.allocation import keep_freed_memory
  from ecanet_jax.models import create_model, network

  keep_freed_memory()  # as train.py does
  fields = {field.name for field in dataclasses.fields(network(setting['model']).family)}
  model = create_model(
    setting['model'], dtype=jnp.dtype(setting['dtype']), num_classes=CLASSES,
    **{name: 0.0 for name in ('dropout', 'drop_path') if name in fields},
  )
  batch, size = setting['batch_size'], setting['image_size']
  random = np.random.default_rng(0)
  images = jnp.asarray(random.standard_normal((batch, size, size, 3)), jnp.float32)
  labels = jnp.asarray(random.integers(0, CLASSES, batch))
  variables = jax.jit(model.init, static_argnames='train')(
    jax.random.key(0), images[:1], train=False
  )

  @jax.jit
  def infer(variables, images):
    return model.apply(variables, images, train=False)

  def loss_and_stats(params, stats, images, labels):
    logits, changed = model.apply(
      {'params': params, 'batch_stats': stats}, images, train=True, mutable=['batch_stats']
    )
    loss = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()
    return loss, changed.get('batch_stats', {})

  def step(params, stats, momentum, images, labels):
    gradient_of = jax.value_and_grad(loss_and_stats, has_aux=True)
    (loss, stats), gradient = gradient_of(params, stats, images, labels)
    momentum = jax.tree.map(lambda m, g: MOMENTUM * m + g, momentum, gradient)
    params = jax.tree.map(lambda p, m: p - LEARNING_RATE * m, params, momentum)
    return params, stats, momentum, loss

  step = jax.jit(step, donate_argnums=(0, 1, 2))
  params, stats = jax.tree.map(jnp.copy, (variables['params'], variables.get('batch_stats', {})))
  state = [params, stats, jax.tree.map(jnp.zeros_like, params)]

  def inference(calls):
    for _ in range(calls):
      # One call at a time on both sides: a call in flight would share the cores with the next.
      infer(variables, images).block_until_ready()

  def train(calls):
    for _ in range(calls):
      *state[:], loss = step(*state, images, labels)
      loss.block_until_ready()
    jax.block_until_ready(state)

  device = jax.devices()[0]
  name = 'CPU' if device.platform == 'cpu' else device.device_kind
  return name, {'inference': inference, 'train': train}


def timm(setting: dict[str, Any]) -> tuple[str, dict[str, Callable[[int], None]]]:
  """timm's network, eager and channels_last (the faster layout on a CPU); returns as `ours`."""
  import torch

  _import_torchvision(torch)
  import timm

  from ecanet_jax.models import network

  record = network(setting['model'])
  if setting['threads']:
    torch.set_num_threads(setting['threads'])
  device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
  model = timm.create_model(record.timm, num_classes=CLASSES, **dict(record.timm_arguments))
  model = model.to(device, memory_format=torch.channels_last)
  batch, size = setting['batch_size'], setting['image_size']
  torch.manual_seed(0)
  images = torch.randn(batch, 3, size, size, device=device)
  images = images.to(memory_format=torch.channels_last)
  labels = torch.randint(0, CLASSES, (batch,), device=device)
  optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, momentum=MOMENTUM, fused=True)
  autocast = torch.autocast(device.type, torch.bfloat16, enabled=setting['dtype'] == 'bfloat16')

  def wait():
    if device.type == 'cuda':
      torch.cuda.synchronize()

  def inference(calls):
    model.eval()
    with torch.inference_mode(), autocast:
      for _ in range(calls):
        model(images)
        wait()

  def train(calls):
    model.train()
    for _ in range(calls):
      with autocast:
        loss = torch.nn.functional.cross_entropy(model(images).float(), labels)
      loss.backward()
      optimizer.step()
      optimizer.zero_grad(set_to_none=True)
      wait()

  name = 'CPU' if device.type == 'cpu' else torch.cuda.get_device_name()
  return name, {'inference': inference, 'train': train}


def _import_torchvision(torch) -> None:
  """Imports torchvision, which timm imports; its wheel does not import beside a CPU-only torch.

  What fails is the registration of gradients of operators whose compiled half does not load;
  declaring their schemas is enough for timm, which does not call them.
  """
  if importlib.util.find_spec('torchvision') is None:
    return
  try:
    import torchvision  # noqa: F401
  except RuntimeError:
    for name in [name for name in sys.modules if name.split('.')[0] == 'torchvision']:
      del sys.modules[name]
    library = torch.library.Library('torchvision', 'FRAGMENT')
    library.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
    library.define(
      'qnms(Tensor dets, Tensor scores, float iou_threshold, float s, int z) -> Tensor'
    )
    library.define(
      'roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, '
      'SymInt pooled_width, int sampling_ratio, bool aligned) -> Tensor'
    )
    _import_torchvision.library = library  # the schemas live as long as this object


SIDES = {'ours': ours, 'timm': timm}
PACKAGES = {'ours': ('jax', 'jaxlib', 'flax'), 'timm': ('torch', 'timm')}


def main(side: str, setting: dict[str, Any]) -> None:
  """Answers the parent until it closes our input."""
  # Whatever a library prints must not get into the answers.
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)

  def answer(**message):
    print(json.dumps(message), file=answers, flush=True)

  if setting['threads']:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: setting['threads']])
  device, modes = SIDES[side](setting)
  for mode in setting['modes']:
    answer(compiling=mode)
    modes[mode](2)
  answer(device=device, versions={p: importlib.metadata.version(p) for p in PACKAGES[side]})
  for line in sys.stdin:
    command = json.loads(line)
    start = time.perf_counter()
    modes[command['mode']](command['calls'])
    answer(seconds=time.perf_counter() - start)


if __name__ == '__main__':
  main(sys.argv[1], json.loads(sys.argv[2]))

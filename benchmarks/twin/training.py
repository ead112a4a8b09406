"""One training on either side: the same batches, learning rates, weight decay and average."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import torch
from flax.traverse_util import flatten_dict

from benchmarks.sides import classification_network
from benchmarks.twin.network import Twin
from ecanet_jax.config.trees import value_of
from ecanet_jax.evaluation.evaluate import evaluate, evaluated, make_eval_step, place
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.sharding import put_batch
from ecanet_jax.tasks.classification import Classification
from ecanet_jax.training.state import init_state
from ecanet_jax.training.step import make_train_step
from ecanet_jax.training.trainer import Trainer

# What only our side can do, and the value with which both sides are the same.
ONLY_OURS = {
  'accumulate': 1, 'data.size_schedule': (), 'mix.mixup_alpha': 0.0, 'mix.cutmix_alpha': 0.0,
  'augment.erasing': 0.0, 'loss.name': 'softmax', 'loss.class_weights': (), 'loss.balanced': False,
  'distill.weights': '', 'init.weights': '', 'optimizer.decoupled': False,
  'optimizer.clip_norm': 0.0, 'optimizer.agc': 0.0, 'optimizer.sam_rho': 0.0,
  'optimizer.layer_decay': 1.0, 'model.frozen_stages': 0, 'model.frozen_bn': False,
  'model.bn_groups': 1, 'compute_dtype': 'float32',
}
LAST = 10  # steps whose mean is the training loss at the end


def check(config) -> None:
  """Raises UserError for a config with something that the PyTorch side does not do."""
  classification_network(config.model.name)
  for key, wanted in ONLY_OURS.items():
    if (value := value_of(config, key)) != wanted:
      raise UserError(f'{key}={value} is ours alone: set --config.{key}={wanted!r}.')
  if config.optimizer.name not in OPTIMIZERS:
    raise UserError(
      f'optimizer.name={config.optimizer.name!r} has no twin here: {", ".join(OPTIMIZERS)}.'
    )


def _sgd(groups, section):
  return torch.optim.SGD(groups, 1.0, momentum=section.momentum, nesterov=section.nesterov)


def _rmsprop_tf(groups, section):
  import timm.optim  # works after benchmarks.twin.network is imported

  eps = 1e-3 if section.eps is None else section.eps
  return timm.optim.RMSpropTF(groups, 1.0, section.decay, eps, momentum=section.momentum)


def _adamw(groups, section):
  eps = 1e-8 if section.eps is None else section.eps
  return torch.optim.AdamW(groups, 1.0, (section.b1, section.b2), eps)


OPTIMIZERS = {'sgd': _sgd, 'rmsprop_tf': _rmsprop_tf, 'adamw': _adamw}


def make_torch_optimizer(config, module: torch.nn.Module) -> torch.optim.Optimizer:
  """The optimizer of `config.optimizer`, with the parameters that decay in its first group."""
  section, groups = config.optimizer, ([], [])
  for part in module.modules():
    normalises = isinstance(part, torch.nn.BatchNorm2d)
    for name, parameter in part.named_parameters(recurse=False):
      decays = section.decay_batch_norm if normalises else section.decay_biases or name != 'bias'
      groups[not decays].append(parameter)
  return OPTIMIZERS[section.name](
    [{'params': groups[0], 'weight_decay': section.weight_decay},
     {'params': groups[1], 'weight_decay': 0.0}],
    section,
  )


class TorchTraining:
  """A training in PyTorch, step by step.

  Args:
    module: the network.
    optimizer: its learning rate is set in each step.
    mean: of the images in 0..1, RGB.
    std: likewise.
    smoothing: of the labels.
    dtype: type of the images; the module's.
  """

  def __init__(
    self, module: torch.nn.Module, optimizer: torch.optim.Optimizer, mean, std, smoothing: float,
    dtype: torch.dtype = torch.float32,
  ):
    self.module, self._optimizer, self._smoothing, self._dtype = module, optimizer, smoothing, dtype
    self._mean, self._std = (np.reshape(each, (1, 1, 1, 3)) for each in (mean, std))
    self.average: dict[str, torch.Tensor] = {}

  def images(self, batch: Mapping[str, np.ndarray]) -> torch.Tensor:
    """The normalised images `[B, 3, H, W]` of a batch of levels `[B, H, W, 3]`."""
    images = (batch['image'] / 255.0 - self._mean) / self._std
    return torch.tensor(images.transpose(0, 3, 1, 2), dtype=self._dtype)

  def step(self, batch: Mapping[str, np.ndarray], rate: float) -> float:
    """One update with the learning rate; returns the loss before it."""
    self.module.train()
    for group in self._optimizer.param_groups:
      group['lr'] = rate
    loss = torch.nn.functional.cross_entropy(
      self.module(self.images(batch)), torch.tensor(batch['label']).long(),
      label_smoothing=self._smoothing,
    )
    self._optimizer.zero_grad()
    loss.backward()
    self._optimizer.step()
    return loss.item()

  def add_to_average(self, decay: float) -> None:
    """Averages parameters and statistics; the first call needs `begin_average`."""
    for key, value in self.module.state_dict().items():
      if value.is_floating_point():
        self.average[key].mul_(decay).add_(value, alpha=1 - decay)

  def begin_average(self) -> None:
    """The average begins with the first weights."""
    self.average = {key: value.clone() for key, value in self.module.state_dict().items()}

  def evaluate(self, batches) -> dict[str, float]:
    """Top-1, top-5 and cross-entropy of the average if there is one, else of the weights."""
    if self.average:
      self.module.load_state_dict(self.average)
    self.module.eval()
    sums = {'top1': 0, 'top5': 0, 'loss': 0.0, 'seen': 0}
    with torch.no_grad():
      for batch in batches:
        logits, mask = self.module(self.images(batch)), torch.tensor(batch['mask'])
        labels = torch.tensor(batch['label']).long()
        rank = (logits > logits.gather(1, labels[:, None])).sum(1)
        loss = torch.nn.functional.cross_entropy(logits, labels, reduction='none')
        sums['top1'] += int(((rank < 1) & mask).sum())
        sums['top5'] += int(((rank < 5) & mask).sum())
        sums['loss'] += float(loss[mask].sum())
        sums['seen'] += int(mask.sum())
    means = {key: sums[key] / sums['seen'] for key in ('top1', 'top5', 'loss')}
    return {**means, 'seen': sums['seen']}


class Pair:
  """Both sides of one config and seed.

  Args:
    config: the whole config; its seed is that of order, augmentation and first weights.
  """

  def __init__(self, config):
    check(config)
    config = config.copy_and_resolve_references()
    config.data.resident = False  # the same images, made on the host for both sides
    self.config = config
    with tempfile.TemporaryDirectory() as folder:
      self.trainer = Trainer(config, os.path.join(folder, 'run'))
    self.twin = Twin(config.model.name, self.trainer.model, config.seed)

  def first_weights(self, start: str):
    """The first variables of a side: 'ours' or 'timm'."""
    if start == 'timm':
      return Twin(self.config.model.name, self.trainer.model, self.config.seed).variables()
    return jax.device_get(self._state({}).variables)

  def train(self, side: str, start: str) -> dict[str, Any]:
    """Trains a side from the first weights of `start`.

    Returns:
      Metrics of the last evaluation, `train_loss` (mean of the last steps), `seconds` of training.
    """
    first, began = self.first_weights(start), time.monotonic()
    trained = (self._ours if side == 'ours' else self._timm)(first)
    return {**trained, 'seconds': time.monotonic() - began}

  def _state(self, loaded):
    trainer = self.trainer
    return init_state(
      trainer.model, trainer.tx, trainer.config, trainer.task.example(), trainer.mesh, loaded
    )

  def _batches(self) -> Iterator[dict[str, np.ndarray]]:
    return self.trainer.dataset.train(0, self.trainer.total_steps)

  def _ours(self, first) -> dict[str, Any]:
    trainer, config = self.trainer, self.trainer.config
    state = self._state(flatten_dict(first, sep='/'))
    step = make_train_step(
      trainer.model, trainer.task, trainer.tx, trainer.schedule, config, trainer.mesh
    )
    losses = []
    with contextlib.closing(self._batches()) as batches:
      for batch in batches:
        state, metrics = step(state, put_batch(batch, trainer.mesh))
        losses = [*losses[1 - LAST:], metrics['loss']]
    eval_step = make_eval_step(evaluated(trainer.model, config), trainer.task, trainer.mesh)
    variables = place(trainer.model, state.for_evaluation(), config, trainer.mesh)
    batches, steps = trainer.dataset.eval()
    metrics = evaluate(
      eval_step, variables, batches, steps, trainer.info.eval.num_examples, trainer.task,
      trainer.mesh,
    )
    kept = (*(metric.name for metric in Classification.shown), 'loss', 'seen')
    return {**{key: metrics[key] for key in kept}, 'train_loss': float(np.mean(losses))}

  def _timm(self, first) -> dict[str, Any]:
    trainer, config = self.trainer, self.trainer.config
    self._check(first)
    module = self.twin.module
    training = TorchTraining(
      module, make_torch_optimizer(config, module), config.data.mean, config.data.std,
      config.loss.label_smoothing,
    )
    if config.ema.decay:
      training.begin_average()
    torch.manual_seed(config.seed)  # dropout
    rates = np.asarray(jax.vmap(trainer.schedule)(np.arange(trainer.total_steps)))
    losses = []
    with contextlib.closing(self._batches()) as batches:
      for number, batch in enumerate(batches):
        losses = [*losses[1 - LAST:], training.step(batch, float(rates[number]))]
        if config.ema.decay:
          warm = (1 + number) / (10 + number) if config.ema.warmup else 1.0
          training.add_to_average(min(config.ema.decay, warm))
    metrics = training.evaluate(trainer.dataset.eval()[0])
    return {**metrics, 'train_loss': float(np.mean(losses))}

  def _check(self, first) -> None:
    """Loads the first weights and compares the logits of both sides."""
    self.twin.load(first)
    size = self.config.data.image_size
    images = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype(np.float32)
    apply = jax.jit(lambda variables, images: self.trainer.model.apply(variables, images, False))
    self.twin.check(np.asarray(apply(first, images)), images)

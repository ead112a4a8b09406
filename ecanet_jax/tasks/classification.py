"""Image classification: the network's input, the loss, top-1 and top-5."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ecanet_jax.data.augmentation.device import erasing, mixing
from ecanet_jax.runtime.errors import UserError, lookup
from ecanet_jax.tasks.task import Batch, Metric

TOP1 = Metric('top1', 'top-1', 100, '%', of_images=True)
TOP5 = Metric('top5', 'top-5', 100, '%', of_images=True)

# Loss of each class, `[B, classes]`, from logits and targets of that shape.
LOSSES = {
  'softmax': lambda outputs, targets: -targets * jax.nn.log_softmax(outputs),
  'bce': lambda outputs, targets: (
    optax.sigmoid_binary_cross_entropy(outputs, targets) / outputs.shape[-1]
  ),
}


def standardised(images: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
  """Images `[B, H, W, 3]` of values 0 to 255 as float32 (x / 255 - mean) / std, by channel."""
  images = images.astype(jnp.float32) / 255
  return (images - mean[None, None, None]) / std[None, None, None]


def rank_of(outputs: jax.Array, label: jax.Array) -> jax.Array:
  """Number of classes that score higher than an image's own: `[B, classes]`, `[B]` -> int32 `[B]`.

  Of equal scores the lower index ranks higher, as in argmax. A NaN is never right.
  """
  own, index = label[:, None], jnp.arange(outputs.shape[-1])[None]
  score = jnp.take_along_axis(outputs, own, axis=-1)
  return (~(outputs <= score) | ((outputs == score) & (index < own))).sum(-1)


class Classification:
  """Images uint8 `[B, H, W, 3]` with labels int32 `[B]`.

  A mixed image (float32) belongs to `label` with weight `share`, and to `other` with the rest.
  """

  headline, shown, joined = TOP1, (TOP1, TOP5), ()
  evaluation_loss = 'softmax'  # of LOSSES

  def __init__(self, config, class_weights: Sequence[float] = ()):
    self.size = config.data.image_size
    self.mean = jnp.asarray(config.data.mean, jnp.float32)
    self.std = jnp.asarray(config.data.std, jnp.float32)
    self.criterion = lookup(LOSSES, config.loss.name, 'loss.name')
    self.threshold = config.loss.target_threshold
    if self.threshold and config.loss.name != 'bce':
      raise UserError(
        f"loss.target_threshold={self.threshold} must be 0 with loss.name={config.loss.name!r}; "
        "it belongs to 'bce'."
      )
    self.smoothing = config.loss.label_smoothing
    self.mixing, self.augment = config.mix, config.augment
    # One factor per class, in training only; () = 1.
    self.weights = jnp.asarray(class_weights, jnp.float32) if class_weights else None

  @property
  def training_loss(self) -> str:
    """How the loss in training differs from the cross-entropy of an evaluation; '' = not."""
    differs = {
      'binary cross-entropy': self.criterion is not LOSSES[self.evaluation_loss],
      f'label smoothing {self.smoothing:g}': self.smoothing,
      'mixed images': self.mixing.mixup_alpha or self.mixing.cutmix_alpha,
      'class weights': self.weights is not None,
    }
    return ', '.join(text for text, applies in differs.items() if applies)

  def example(self) -> jax.Array:
    return jnp.zeros((1, self.size, self.size, 3), jnp.float32)

  def mix(self, batch: Batch, key: jax.Array) -> Batch:
    batch = mixing.mix(batch, self.mixing, jax.random.fold_in(key, 0))
    return erasing.erase(batch, self.augment, self.mean, self.std, jax.random.fold_in(key, 1))

  def inputs(self, batch: Batch) -> jax.Array:
    """The normalised images of a batch, float32 `[B, H, W, 3]`."""
    return standardised(batch['image'], self.mean, self.std)

  def training_outputs(self, apply: Callable, batch: Batch, key: jax.Array) -> Any:
    return apply(self.inputs(batch), train=True)

  def outputs(self, apply: Callable, batch: Batch) -> jax.Array:
    return apply(self.inputs(batch), train=False)

  def targets(self, label: jax.Array, classes: int) -> jax.Array:
    """The probability of each class, float32 `[B, classes]`."""
    return jax.nn.one_hot(label, classes)

  def smooth(self, targets: jax.Array) -> jax.Array:
    """Targets after label smoothing."""
    return optax.smooth_labels(targets, self.smoothing)

  def loss(self, outputs: jax.Array, batch: Batch) -> jax.Array:
    targets = self.targets(batch['label'], outputs.shape[-1])
    if 'share' in batch:
      share, other = batch['share'][:, None], self.targets(batch['other'], outputs.shape[-1])
      targets = share * targets + (1 - share) * other
    targets = self.smooth(targets)
    if self.threshold:
      targets = (targets > self.threshold).astype(targets.dtype)
    terms = self.criterion(outputs, targets)
    if self.weights is not None:
      # As in PyTorch, each class has its factor. The mean is over images, not factors, so that the
      # parts of a batch have equal weight.
      terms *= self.weights[None]
    return terms.sum(-1).mean()

  def loss_parts(self, outputs: jax.Array) -> dict[str, jax.Array]:
    return {}

  def sums(self, outputs: jax.Array, batch: Batch) -> dict[str, jax.Array]:
    mask, label = batch['mask'], batch['label']
    rank = rank_of(outputs, label)
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels(outputs, label)
    return {
      'top1': (mask & (rank < 1)).sum(),
      'top5': (mask & (rank < 5)).sum(),
      'loss': jnp.where(mask, cross_entropy, 0.0).sum(),
      'seen': mask.sum(),
    }

  def on_host(self, sums: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return sums

  def metrics(self, sums: dict[str, float]) -> dict[str, float]:
    means = {key: sums[key] / sums['seen'] for key in ('top1', 'top5', 'loss')}
    return {**means, 'top1_count': sums['top1'], 'top5_count': sums['top5']}

"""Evaluations of a network whose attention weights are changed in some blocks."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.nn.attention.channel import ChannelAttention
from ecanet_jax.runtime.errors import UserError


@dataclasses.dataclass(frozen=True)
class Change:
  """Weights w become w * scale + shift.

  Attributes:
    scale: `[C]`.
    shift: `[C]`.
  """

  scale: np.ndarray
  shift: np.ndarray

  @classmethod
  def none(cls, channels: int) -> 'Change':
    """Leaves the weights as they are."""
    return cls(np.ones(channels, np.float32), np.zeros(channels, np.float32))

  @classmethod
  def constant(cls, weights: np.ndarray) -> 'Change':
    """The same weights `[C]` for every image."""
    return cls(np.zeros(len(weights), np.float32), np.asarray(weights, np.float32))

  @classmethod
  def kept(cls, channels: np.ndarray) -> 'Change':
    """Sets the weights of the other channels to 0; `channels` is a mask `[C]`."""
    return cls(np.asarray(channels, np.float32), np.zeros(len(channels), np.float32))


Changes: TypeAlias = Mapping[str, Change]  # block -> its change


@dataclasses.dataclass
class Score:
  """Counts over images.

  Attributes:
    correct: the most probable class is the label.
    unchanged: it is that of the network without changes.
    images: all.
  """

  correct: int = 0
  unchanged: int = 0
  images: int = 0

  @property
  def top1(self) -> float:
    """The share of correct images."""
    return self.correct / self.images

  @property
  def agreement(self) -> float:
    """The share of images with the same answer as the unchanged network."""
    return self.unchanged / self.images


def changed_logits(model: ConvNet) -> Callable[..., jax.Array]:
  """A compiled function (variables, normalised images, scales, shifts) -> logits `[B, K]`.

  Scales and shifts are dictionaries: block -> `[C]`. One program serves all values.
  """

  @jax.jit
  def logits(variables, images, scales, shifts):
    def change(call, args, kwargs, context):
      weights, module = call(*args, **kwargs), context.module
      if not (isinstance(module, ChannelAttention) and context.method_name == 'weights'):
        return weights
      block = module.path[0]
      if block not in scales:
        return weights
      return weights * scales[block][None, None, None] + shifts[block][None, None, None]

    with nn.intercept_methods(change):
      return model.apply(variables, images, train=False)

  return logits


def score(
  model: ConvNet, variables: Mapping[str, Any], batches: Iterable[Mapping[str, Any]],
  channels: Mapping[str, int], variants: Mapping[Any, Changes],
) -> tuple[Score, dict[Any, Score]]:
  """Evaluates the network without changes, and with each variant, in one pass over the images.

  Args:
    model: from `create_model`.
    variables: {'params', 'batch_stats'}.
    batches: {'image': normalised, 'label': integers `[B]`, 'mask': whether an image counts}.
    channels: of each block that a variant changes.
    variants: the changes by any key. A block that a variant does not name is not changed.

  Returns:
    The score of the unchanged network, and those of the variants by their keys.

  Raises:
    UserError: there was no image, or the network has no classifier.
  """
  if not model.num_classes:
    raise UserError('the network has no classifier, so it has no top-1.')
  logits, nothing = changed_logits(model), {b: Change.none(n) for b, n in channels.items()}
  reference, scores = Score(), {key: Score() for key in variants}

  def answers(images, changes: Changes) -> np.ndarray:
    each = {**nothing, **changes}
    scales, shifts = ({b: getattr(c, part) for b, c in each.items()} for part in ('scale', 'shift'))
    return np.asarray(jnp.argmax(logits(variables, images, scales, shifts), -1))

  for batch in batches:
    keep, label = np.asarray(batch['mask'], bool), np.asarray(batch['label'])
    first = answers(batch['image'], {})
    found = {key: answers(batch['image'], changes) for key, changes in variants.items()}
    for total, answer in [(reference, first), *((scores[key], found[key]) for key in found)]:
      total.correct += int((answer == label)[keep].sum())
      total.unchanged += int((answer == first)[keep].sum())
      total.images += int(keep.sum())
  if not reference.images:
    raise UserError('the data set has no image.')
  return reference, scores

"""One pass over a data set that sums the attention weights of every block by class.

ECA-Net (Wang et al. 2020), Fig. 6 and 7; Squeeze-and-Excitation Networks (Hu et al. 2018), Fig. 6.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ecanet_jax.analysis import blocks
from ecanet_jax.analysis.statistics import Moments, Saturation, Shares, shares
from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.models.intermediates import attention_views
from ecanet_jax.runtime.errors import UserError

# block -> {'squeeze', 'weights'}: [B, C] each.
Views = Mapping[str, Mapping[str, jax.Array]]


@dataclasses.dataclass
class BlockGates:
  """Sums of one block.

  Attributes:
    weights: attention weights by class.
    random: attention weights by a random class of each image: what `shares` finds by chance.
    saturation: of the weights.
  """

  weights: Moments
  random: Moments
  saturation: Saturation

  def shares(self) -> Shares:
    """How the variance of the weights is divided between the classes."""
    return shares(self.weights)

  def by_chance(self) -> Shares:
    """The same for random classes."""
    return shares(self.random)


def viewer(
  model: ConvNet, asked: Sequence[str] = ()
) -> Callable[[Mapping[str, Any], jax.Array], Views]:
  """A compiled function (variables, normalised images) -> views of the blocks.

  Args:
    model: from `create_model`.
    asked: names of blocks, ours or the papers'; () = all with channel attention.
  """

  @jax.jit
  def views(variables, images):
    seen = attention_views(model, variables, images)
    return {
      name: {key: array.reshape(len(images), -1) for key, array in view.items()}
      for name, view in seen.items()
      if name in chosen
    }

  chosen = blocks.choose(asked, channel_blocks(model))
  return views


def channel_blocks(model: ConvNet, image_size: int = 64) -> list[str]:
  """The blocks whose attention gives each channel of an image one weight, in the network's order.

  Raises:
    UserError: the network has none.
  """
  images = jax.ShapeDtypeStruct((1, image_size, image_size, model.in_chans), jnp.float32)

  def shapes(images):
    variables = model.init(jax.random.key(0), images, train=False)
    return attention_views(model, variables, images)

  found = jax.eval_shape(shapes, images)
  names = [
    name for name, view in found.items()
    if 'weights' in view and view['weights'].shape[1:3] == (1, 1)
  ]
  if not names:
    raise UserError(
      f'the network has no channel attention (model.attention.kind={model.attention.kind!r}); '
      'give one with SE or ECA.'
    )
  return names


def collect(
  views: Callable[[jax.Array], Views], batches: Iterable[Mapping[str, np.ndarray]], classes: int,
  seed: int = 0,
) -> dict[str, BlockGates]:
  """Sums over all images, in float64.

  Args:
    views: normalised images -> views of the blocks.
    batches: {'image': normalised, 'label': integers `[B]`, 'mask': whether an image counts}.
    classes: their number.
    seed: of the random classes.

  Returns:
    Block -> its sums.

  Raises:
    UserError: there was no image.
  """
  random = np.random.default_rng(seed)
  sums: dict[str, BlockGates] = {}
  for batch in batches:
    keep = np.asarray(batch['mask'], bool)
    labels = np.asarray(batch['label'])[keep]
    chance = random.integers(0, classes, len(labels))
    for name, view in jax.device_get(views(batch['image'])).items():
      weights = np.asarray(view['weights'])[keep]
      block = sums.setdefault(name, BlockGates(
        Moments.zero(classes, weights.shape[1]),
        Moments.zero(classes, weights.shape[1]), Saturation(),
      ))
      block.weights.add(weights, labels)
      block.random.add(weights, chance)
      block.saturation.add(weights)
  if not sums:
    raise UserError('the data set has no image.')
  return sums

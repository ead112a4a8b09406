"""Attention as a measure of importance: channels pruned by it, by other measures and at random.

In every block the least important channels of the tensor that the attention reweights are set to 0.
In an inverted bottleneck these are input channels of the projection. Measures:

- attention: the mean attention weight of a channel;
- attention x activation: the mean of weight times mean |value| of the channel;
- BatchNorm scale: |gamma| of the BatchNorm before the attention (Liu et al., Learning Efficient
  Convolutional Networks through Network Slimming, ICCV 2017);
- random: orders that do not depend on the network.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ecanet_jax.analysis import blocks as names_of_blocks
from ecanet_jax.analysis.effect.change import Change, Score, score
from ecanet_jax.analysis.gates import channel_blocks
from ecanet_jax.analysis.run import Run
from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.nn.attention.channel import ChannelAttention
from ecanet_jax.nn.layers import BatchNorm

ATTENTION, ACTIVATION = 'attention', 'attention x activation'
SCALE, RANDOM = 'BatchNorm scale', 'random'
SHARES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
SEEDS = 5


@dataclasses.dataclass(frozen=True)
class Pruning:
  """The scores of one network.

  Attributes:
    path: of the weights.
    title: network and data set.
    reference: of the unpruned network.
    shares: of each block's channels that are pruned, ascending.
    scores: measure -> for each of its orders (several for random ones) a score for each share.
  """

  path: str
  title: str
  reference: Score
  shares: tuple[float, ...]
  scores: dict[str, tuple[tuple[Score, ...], ...]]


def pruning(
  run: Run, blocks: Sequence[str] = (), shares: Sequence[float] = SHARES, seeds: int = SEEDS
) -> Pruning:
  """Scores a network with pruned channels.

  Args:
    run: network and images, which are read twice.
    blocks: names of blocks, ours or the papers'; () = all with attention.
    shares: of each block's channels that are pruned, above 0 and below 1.
    seeds: number of random orders.

  Raises:
    UserError: the network has no attention, or no such block.
  """
  chosen = names_of_blocks.choose(blocks, channel_blocks(run.model))
  orders = {
    measure: [values]
    for measure, values in importance(run.model, run.variables, run.batches('importance'), chosen)
    .items()
  }
  channels = {block: len(values) for block, values in orders[ATTENTION][0].items()}
  for seed in range(seeds):
    random = np.random.default_rng(seed)
    order = {block: random.permutation(count) for block, count in channels.items()}
    orders.setdefault(RANDOM, []).append(order)
  variants = {
    (measure, number, share): {
      block: Change.kept(kept(values, share)) for block, values in order.items()
    }
    for measure, group in orders.items() for number, order in enumerate(group) for share in shares
  }
  reference, scores = score(
    run.model, run.variables, run.batches('pruned channels'), channels, variants
  )
  return Pruning(run.path, run.title, reference, tuple(shares), {
    measure: tuple(
      tuple(scores[measure, number, share] for share in shares) for number in range(len(group))
    )
    for measure, group in orders.items()
  })


def kept(values: np.ndarray, share: float) -> np.ndarray:
  """A mask `[C]` of all channels but the `share` with the smallest values, rounded down."""
  mask = np.ones(len(values), bool)
  mask[np.argsort(values, kind='stable')[: int(share * len(values))]] = False
  return mask


def importance(
  model: ConvNet, variables: Mapping[str, Any], batches: Iterable[Mapping[str, Any]],
  blocks: Sequence[str],
) -> dict[str, dict[str, np.ndarray]]:
  """The importance of channels by each measure but the random one.

  Args:
    model: from `create_model`.
    variables: {'params', 'batch_stats'}.
    batches: {'image': normalised, 'mask': whether an image counts}.
    blocks: names of blocks with channel attention.

  Returns:
    Measure -> block -> `[C]`. `SCALE` is missing if a BatchNorm is not directly before the
    attention of one of the blocks.
  """
  @jax.jit
  def seen(variables, images):
    found = {}

    def look(call, args, kwargs, context):
      result, module = call(*args, **kwargs), context.module
      if isinstance(module, ChannelAttention) and module.path[0] in blocks:
        each = found.setdefault(module.path[0], {})
        if context.method_name == '__call__':
          each['activation'] = jnp.abs(args[0].astype(jnp.float32)).mean((1, 2))
        elif context.method_name == 'weights':
          each['weights'] = result.reshape(len(images), -1)
      return result

    with nn.intercept_methods(look):
      model.apply(variables, images, train=False)
    return {block: (each['weights'], each['activation']) for block, each in found.items()}

  weights, products, images = {}, {}, 0
  for batch in batches:
    keep = np.asarray(batch['mask'], bool)
    images += int(keep.sum())
    for block, pair in jax.device_get(seen(variables, batch['image'])).items():
      weight, activation = (np.asarray(values, np.float64)[keep] for values in pair)
      weights[block] = weights.get(block, 0) + weight.sum(0)
      products[block] = products.get(block, 0) + (weight * activation).sum(0)
  found = {
    ATTENTION: {block: total / images for block, total in weights.items()},
    ACTIVATION: {block: total / images for block, total in products.items()},
  }
  scales = batch_norm_scales(model, variables)
  if all(block in scales for block in blocks):
    found[SCALE] = {block: scales[block] for block in blocks}
  return found


def batch_norm_scales(
  model: ConvNet, variables: Mapping[str, Any], image_size: int = 64
) -> dict[str, np.ndarray]:
  """|gamma| `[C]` of the BatchNorm directly before each block's attention."""
  before = {}

  def look(call, args, kwargs, context):
    module = context.module
    if isinstance(module, BatchNorm) and context.method_name == '__call__':
      attention = next((each for each in args if isinstance(each, ChannelAttention)), None)
      if attention is not None:
        before[module.path[0]] = module.path
    return call(*args, **kwargs)

  def trace(images):
    with nn.intercept_methods(look):
      return model.apply(variables, images, train=False)

  jax.eval_shape(
    trace, jax.ShapeDtypeStruct((1, image_size, image_size, model.in_chans), jnp.float32)
  )
  scales = {}
  for block, path in before.items():
    parameters = variables['params']
    for name in path:
      parameters = parameters[name]
    scales[block] = np.abs(np.asarray(parameters['scale'], np.float64))
  return scales

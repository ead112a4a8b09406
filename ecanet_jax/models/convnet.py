"""The base of every family: blocks as data, the attention slot, freezing, the classifier.

A family subclasses `ConvNet`. It has a literal table, a few block modules and `blocks`, and
overrides `stem_layers` and `head_layers`. Stem modules are named stem*, blocks by `Block.name`; all
other modules are the head.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from ecanet_jax.nn import initializers
from ecanet_jax.nn.attention import ATTENTION, Attention, Slot, check, place
from ecanet_jax.nn.block import Block
from ecanet_jax.nn.layers import CONV, PRESET, Layers, drop_path
from ecanet_jax.nn.pooling import GLOBAL_POOL, GlobalPool
from ecanet_jax.ops import BACKENDS
from ecanet_jax.ops.activation import ACTIVATIONS
from ecanet_jax.runtime.errors import UserError, lookup


def _remat(policy: Callable | None) -> Callable:
  # Argument 2 is `train`, after self and x.
  return lambda module: nn.remat(module, static_argnums=(2,), policy=policy)


# What training keeps of a block for the gradient; the rest is computed again.
REMAT: dict[str, Callable] = {
  'none': lambda module: module,  # everything
  'elementwise': _remat(jax.checkpoint_policies.save_only_these_names(CONV)),
  'blocks': _remat(None),  # the block's input alone
}

CLASSIFIER_VALUES = ('family', 'timm')


class BlockModule(nn.Module):
  """Base of the modules of all blocks.

  Attributes:
    slot: the block's facts and the position of its attention.
    attention: the network's attention.
    layers: the network's layers.
    drop_path: rate of stochastic depth.
  """

  slot: Slot
  attention: Attention
  layers: Layers
  drop_path: float

  @property
  def block(self) -> Block:
    """The block's facts."""
    return self.slot.block

  def attention_at(self, position: str) -> nn.Module | None:
    """The block's attention if it is at this position, else None; call inside `@nn.compact`."""
    if not position or position != self.slot.position:
      return None
    return ATTENTION[self.attention.kind](
      self.attention, self.slot, self.layers, name='attention'
    )

  def attend(self, position: str, x, train: bool):
    """Applies the block's attention if it is at this position."""
    attention = self.attention_at(position)
    return x if attention is None else attention(x, train)

  def dropped(self, y, train: bool):
    """The residual branch with stochastic depth."""
    if train and self.drop_path > 0:
      return drop_path(y, self.drop_path, self.make_rng('dropout'))
    return y

  def add_skip(self, x, y, train: bool):
    """Adds the skip if the block has one, with the attention at 'identity' and 'post'."""
    if self.block.has_skip:
      y = self.dropped(y, train) + self.attend('identity', x, train)
    return self.attend('post', y, train)


class ConvNet(nn.Module):
  """A network of stem, stages of blocks, and head.

  Attributes:
    attention: kind, where, position and k of the attention slot.
    preset: 'torch' (symmetric padding, eps 1e-5) or 'tf' (SAME, eps 1e-3).
    activation: a name of `ops.activation.ACTIVATIONS`.
    num_classes: outputs of the classifier; 0 = no classifier: the output is the pooled features.
    in_chans: channels of the images; 3 = RGB.
    global_pool: a kind of `GlobalPool`.
    classifier_values: a name of CLASSIFIER_VALUES: the rule of the classifier's initial kernel.
    dropout: rate before the classifier.
    drop_path: stochastic depth; block i of n drops with rate drop_path * i / n (TF EfficientNet).
    bn_groups: BatchNorm's statistics: 1 = of the global batch, N = of each N-th of it.
    bn_decay: of the running statistics; None = the preset's.
    bn_eps: added to the variance; None = the preset's.
    frozen_stages: number of stages that training leaves unchanged, with the stem; 0 = no freezing,
      -1 = all but the classifier.
    frozen_bn: BatchNorm uses its running statistics in training and does not update them.
    backend: a name of `ops.BACKENDS`.
    dtype: type in which layers compute; parameters, statistics and logits are float32.
    remat: a name of REMAT: what training keeps of each block for the gradient.
    folded: BatchNorms behind convolutions are part of them; see `models.fold`. Not for training.
  """

  attention: Attention = Attention()
  preset: str = 'torch'
  activation: str = 'relu'
  num_classes: int = 1000
  in_chans: int = 3
  global_pool: str = 'avg'
  classifier_values: str = 'family'
  dropout: float = 0.0
  drop_path: float = 0.0
  bn_groups: int = 1
  bn_decay: float | None = None
  bn_eps: float | None = None
  frozen_stages: int = 0
  frozen_bn: bool = False
  backend: str = 'xla'
  dtype: jnp.dtype = jnp.float32
  remat: str = 'none'
  folded: bool = False

  positions = ()  # positions for attention in this family's blocks
  standard = ''  # the published position
  stem_stride = 2  # image pixels per pixel of the first block's input
  classifier_init = staticmethod(initializers.dense_uniform)
  timm_classifier_init = None  # where timm's rule is another one
  classifier_bias_init = staticmethod(lambda fan_in: nn.initializers.zeros)
  depthwise_init = staticmethod(initializers.fan_out_normal)

  def blocks(self) -> Iterator[Block]:
    """The blocks from stem to head."""
    raise NotImplementedError

  def check(self) -> None:
    """Raises UserError for fields that this family cannot have."""
    lookup(PRESET, self.preset, 'preset')
    lookup(ACTIVATIONS, self.activation, 'activation')
    lookup(GLOBAL_POOL, self.global_pool, 'global_pool')
    lookup(dict.fromkeys(CLASSIFIER_VALUES), self.classifier_values, 'classifier_values')
    lookup(BACKENDS, self.backend, 'backend')
    lookup(REMAT, self.remat, 'remat')
    for field in ('dropout', 'drop_path'):
      if not 0 <= getattr(self, field) < 1:
        raise UserError(f'{field}={getattr(self, field)} must be at least 0 and below 1.')
    for field, least in (('num_classes', 0), ('in_chans', 1), ('bn_groups', 1)):
      if getattr(self, field) < least:
        raise UserError(f'{field}={getattr(self, field)} must be at least {least}.')
    stages = self.stages_count()
    if not -1 <= self.frozen_stages <= stages:
      raise UserError(
        f'frozen_stages={self.frozen_stages} must be from 0 to {stages}, or -1: all but the '
        'classifier.'
      )
    lookup(ATTENTION, self.attention.kind, 'attention.kind')
    slots = lambda: (self.slot(block) for block in self.blocks())
    check(self.attention, slots, self.positions, stages, type(self).__name__)

  def stages_count(self) -> int:
    """Number of stages."""
    return max(block.stage for block in self.blocks())

  def slot(self, block: Block) -> Slot:
    """The block's attention slot."""
    return place(self.attention, block, self.standard, self.stages_count())

  def make_layers(self) -> Layers:
    """The network's layers."""
    preset = PRESET[self.preset]
    if self.bn_decay is not None:
      preset = dataclasses.replace(preset, bn_decay=self.bn_decay)
    if self.bn_eps is not None:
      preset = dataclasses.replace(preset, bn_eps=self.bn_eps)
    return Layers(
      preset, self.activation, self.bn_groups, self.frozen_bn, self.backend, self.dtype,
      self.folded, self.depthwise_init,
    )

  def is_frozen(self, path: Sequence[str]) -> bool:
    """Whether training leaves a parameter unchanged.

    Args:
      path: its names, such as ('blocks_0_0', 'conv_1', 'kernel').
    """
    module = path[0]
    if self.frozen_stages < 0:
      return module != 'classifier'
    if module.startswith('stem'):
      return self.frozen_stages > 0
    return any(b.name == module and b.stage <= self.frozen_stages for b in self.blocks())

  def drop_path_rates(self) -> list[float]:
    """Rate of stochastic depth of each block."""
    blocks = len(list(self.blocks()))
    return [self.drop_path * i / blocks for i in range(blocks)]

  def stages_behind(self, path: Sequence[str]) -> int:
    """Distance of a parameter from the head: 0 for the head, 1 for the last stage, ..."""
    module = path[0]
    if module.startswith('stem'):
      return self.stages_count() + 1
    return next((self.stages_count() + 1 - b.stage for b in self.blocks() if b.name == module), 0)

  def stem_layers(self, layer: Layers, x, train: bool):
    """Maps images to the first block's input; a family overrides it."""
    return x

  def head_layers(self, layer: Layers, x, train: bool):
    """Maps the last block's output to the input of the global pooling; a family overrides it."""
    return x

  @nn.compact
  def __call__(self, images, train: bool, stages: bool = False):
    """Maps images `[B, H, W, in_chans]`, normalised, to float32 logits `[B, num_classes]`.

    With `num_classes` = 0 the result is the classifier's input `[B, C]`.

    Args:
      images: `[B, H, W, in_chans]`, normalised.
      train: training.
      stages: return the last features of each stride instead, a dict of stride in pixels ->
        `[B, H', W', C]`, as a detector's backbone does. The head and the classifier do not exist
        then.

    Raises:
      UserError: images of another shape or type, or too small for the family.
    """
    layer, x = self.make_layers(), check_images(images, self.in_chans)
    if self.frozen_stages:
      x = jax.lax.stop_gradient(self.stem_layers(layer, x, False))
    else:
      x = self.stem_layers(layer, x, train)
    trains = train and self.frozen_stages >= 0
    x, features = self.run_blocks(layer, x, trains)
    if stages:
      return jax.lax.stop_gradient(features) if self.frozen_stages < 0 else features
    x = self.head_layers(layer, x, trains)
    if self.frozen_stages < 0:
      x = jax.lax.stop_gradient(x)
    return self.classify(x, train)

  def run_blocks(self, layer: Layers, x, train: bool):
    """Runs all blocks; sows each stage's output (see `models.intermediates`).

    Args:
      layer: the network's layers.
      x: `[B, H, W, C]`, the stem's output.
      train: training; frozen stages always run in evaluation mode.

    Returns:
      The last block's output, and the last features of each stride.
    """
    remat, stride, features = REMAT[self.remat], self.stem_stride, {}
    for block, rate in zip(self.blocks(), self.drop_path_rates()):
      frozen = block.stage <= self.frozen_stages
      module = (remat(block.module) if train else block.module)(
        self.slot(block), self.attention, layer, rate, name=block.name
      )
      x = module(x, train and not frozen)
      if block.last:
        self.sow('intermediates', f'stage_{block.stage}', x)
        if block.stage == self.frozen_stages:
          x = jax.lax.stop_gradient(x)
      stride *= block.stride
      features[stride] = x
    return x, features

  def classify(self, x, train: bool):
    """Global pooling, dropout, classifier if any: `[B, H, W, C]` -> float32 `[B, num_classes]`."""
    x = GlobalPool(self.global_pool)(x)
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    if not self.num_classes:
      return x
    timms = self.timm_classifier_init if self.classifier_values == 'timm' else None
    return nn.Dense(
      self.num_classes, kernel_init=timms or self.classifier_init,
      bias_init=self.classifier_bias_init(x.shape[-1]), name='classifier',
    )(x)


def check_images(images, channels: int = 3) -> jax.Array:
  """The images as an array.

  Raises:
    UserError: they are not floating point `[B, H, W, channels]` with at least one pixel.
  """
  images = jnp.asarray(images)
  shape = images.shape
  if len(shape) != 4 or shape[-1] != channels or 0 in shape[1:3]:
    one_image = len(shape) == 3 and shape[-1] == channels
    colours = 'RGB' if channels == 3 else f'{channels} channel{"s" if channels > 1 else ""}'
    advice = 'images[None] adds the batch axis' if one_image else (
      f'the batch, height and width in pixels, and {colours}'
    )
    raise UserError(f'images of shape {shape} are not [B, H, W, {channels}]: {advice}.')
  if not jnp.issubdtype(images.dtype, jnp.floating):
    raise UserError(
      f'images of type {images.dtype.name} must be floating point and normalised: '
      '(images / 255 - mean) / std.'
    )
  return images

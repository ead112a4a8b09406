"""What every family shares: blocks as data, the attention slot, freezing, the classifier.

A family is a subclass of `ConvNet` with a literal table, a few block modules, and `__call__`. Its
stem modules are named stem*, its blocks by `Block.name`; all else is the head.
"""

import dataclasses
from collections.abc import Callable, Iterator

import flax.linen as nn
import jax
import jax.numpy as jnp

from ecanet_jax.nn import initializers, layers
from ecanet_jax.nn.attention import ATTENTION, Attend, Attention, Slot, check, placed
from ecanet_jax.nn.pooling import GlobalPool
from ecanet_jax.runtime.errors import UserError, lookup


def _remat(policy: Callable | None) -> Callable:
  # Argument 2 is `train`, after self and x.
  return lambda module: nn.remat(module, static_argnums=(2,), policy=policy)


# What training keeps of a block for its gradient; the rest is computed again.
REMAT: dict[str, Callable] = {
  'none': lambda module: module,  # everything that the gradient needs
  'elementwise': _remat(jax.checkpoint_policies.save_only_these_names(layers.CONV)),
  'blocks': _remat(None),  # its input alone
}


@dataclasses.dataclass(frozen=True)
class Block:
  """Static facts of one block; stage and index count from 0.

  Attributes:
    name: of its module.
    kind: for the block table, such as 'MBConv6'.
    stage: the stem is not a stage.
    index: in its stage.
    last: of its stage.
    in_channels: of its input.
    mid_channels: of its k x k convolution's output.
    out_channels: of its output.
    kernel: of its k x k convolution.
    stride: in pixels.
    has_skip: the block adds its unchanged input.
    adds: it adds its input, unchanged or projected.
    module: the block's, made by `ConvNet.run_blocks`.
    planes: the width it is named after (a bottleneck's narrow one); 0 = out_channels.
    base_channels: those that its expansion and SE's reduction count from; 0 = in_channels.
  """

  name: str
  kind: str
  stage: int
  index: int
  last: bool
  in_channels: int
  mid_channels: int
  out_channels: int
  kernel: int
  stride: int
  has_skip: bool
  adds: bool
  module: 'type[BlockModule]'
  planes: int = 0
  base_channels: int = 0


class BlockModule(nn.Module):
  """What the module of every block has.

  Attributes:
    block: its facts.
    slot: what its attention knows of it.
    attention: the network's.
    layers: the network's.
    drop_path: stochastic depth's rate.
  """

  block: Block
  slot: Slot
  attention: Attention
  layers: layers.Layers
  drop_path: float

  def attend(self, train: bool) -> Attend:
    """The block's attention, to be offered each of its places; call it inside `@nn.compact`."""
    return Attend(self.attention, self.slot, self.layers, train)

  def dropped(self, y, train: bool):
    """The residual branch, dropped for some images in training."""
    if train and self.drop_path > 0:
      return layers.drop_path(y, self.drop_path, self.make_rng('dropout'))
    return y


class ConvNet(nn.Module):
  """A network of stem, stages of blocks, and head; a family says which.

  Attributes:
    attention: kind, where, position and k of the attention slot.
    preset: 'torch' (symmetric padding, eps 1e-5) or 'tf' (SAME, eps 1e-3).
    activation: a name of `layers.ACTIVATION`.
    num_classes: outputs of the classifier.
    dropout: rate before the classifier.
    drop_path: stochastic depth; block i of n drops with rate drop_path * i / n (TF EfficientNet).
    bn_groups: 1 = statistics of the whole global batch, N = of each N-th of it.
    bn_decay: of the running statistics; None = the preset's.
    bn_eps: added to the variance; None = the preset's.
    frozen_stages: stem and so many stages are left as they are in training; 0 = none, not the stem.
    frozen_bn: BatchNorm uses and keeps its running statistics in training, in the whole network.
    conv_op: implementation of all other convolutions, see `ops.convolution`.
    depthwise: implementation of the depthwise convolution, see `ops.depthwise`.
    norm_op: implementation of BatchNorm in training, see `ops.batch_norm`.
    dtype: what the layers compute in; parameters, statistics and logits are float32.
    remat: a name of REMAT: what training keeps of each block for its gradient.
    folded: without the BatchNorms behind convolutions; made by `models.fold`, not for training.
  """

  attention: Attention = Attention()
  preset: str = 'torch'
  activation: str = 'relu'
  num_classes: int = 1000
  dropout: float = 0.0
  drop_path: float = 0.0
  bn_groups: int = 1
  bn_decay: float | None = None
  bn_eps: float | None = None
  frozen_stages: int = 0
  frozen_bn: bool = False
  conv_op: str = 'auto'
  depthwise: str = 'auto'
  norm_op: str = 'auto'
  dtype: jnp.dtype = jnp.float32
  remat: str = 'none'
  folded: bool = False

  positions = ()  # the places for attention in this family's blocks
  standard = ''  # the one that its papers use
  stem_stride = 2  # pixels of the image per pixel of the first block's input
  classifier_init = staticmethod(initializers.dense_uniform)
  classifier_bias_init = staticmethod(lambda fan_in: nn.initializers.zeros)
  depthwise_init = staticmethod(initializers.fan_out_normal)

  def blocks(self) -> Iterator[Block]:
    """The blocks from stem to head."""
    raise NotImplementedError

  def plain(self) -> 'ConvNet':
    """The network of XLA's own operations: the same arrays, and fewer functions to trace."""
    return self.clone(conv_op='plain', depthwise='lax', norm_op='plain')

  def released_k(self, block: Block) -> int | None:
    """ECA's kernel size in its authors' weights of this network, where there are any."""
    return None

  def check(self) -> None:
    """Raises UserError for a combination that this family does not have."""
    lookup(layers.PRESET, self.preset, 'preset')
    lookup(layers.ACTIVATION, self.activation, 'activation')
    lookup(REMAT, self.remat, 'remat')
    for field in ('dropout', 'drop_path'):
      if not 0 <= getattr(self, field) < 1:
        raise UserError(f'{field}={getattr(self, field)} must be at least 0 and below 1.')
    for field in ('num_classes', 'bn_groups'):
      if getattr(self, field) < 1:
        raise UserError(f'{field}={getattr(self, field)} must be at least 1.')
    stages = self.stages_count()
    if not 0 <= self.frozen_stages <= stages:
      raise UserError(f'frozen_stages={self.frozen_stages} must be from 0 to {stages}.')
    lookup(ATTENTION, self.attention.kind, 'attention.kind')
    slots = lambda: (self.slot(block) for block in self.blocks())
    check(self.attention, slots, self.positions, stages, type(self).__name__)

  def stages_count(self) -> int:
    """How many stages the network has."""
    return max(block.stage for block in self.blocks()) + 1

  def slot(self, block: Block) -> Slot:
    """What the block's attention knows of its place."""
    kind = ATTENTION[self.attention.kind]
    slot = Slot(
      stage=block.stage + 1,
      stages=self.stages_count(),
      index=block.index,
      last=block.last,
      has_skip=block.has_skip,
      stride=block.stride,
      in_channels=block.in_channels,
      mid_channels=block.mid_channels,
      out_channels=block.out_channels,
      planes=block.planes or block.out_channels,
      base_channels=block.base_channels or block.in_channels,
      activation=self.activation,
      released_k=self.released_k(block),
    )
    slot = placed(self.attention, slot, (kind and kind.standard) or self.standard)
    if slot.position == 'identity' and not block.adds:  # nothing is there
      slot = dataclasses.replace(slot, position='')
    return slot

  def make_layers(self) -> layers.Layers:
    """The network's layers."""
    preset = layers.PRESET[self.preset]
    if self.bn_decay is not None:
      preset = dataclasses.replace(preset, bn_decay=self.bn_decay)
    if self.bn_eps is not None:
      preset = dataclasses.replace(preset, bn_eps=self.bn_eps)
    return layers.Layers(
      preset, self.activation, self.bn_groups, self.frozen_bn, self.conv_op, self.depthwise,
      self.norm_op, self.dtype, self.folded, self.depthwise_init,
    )

  def is_frozen(self, module: str) -> bool:
    """Whether the parameters of a top-level module stay as they are in training."""
    if module.startswith('stem'):
      return self.frozen_stages > 0
    return any(b.name == module and b.stage < self.frozen_stages for b in self.blocks())

  def drop_path_rates(self) -> list[float]:
    """Stochastic depth's rate of each block."""
    blocks = len(list(self.blocks()))
    return [self.drop_path * i / blocks for i in range(blocks)]

  def stages_behind(self, module: str) -> int:
    """How far a top-level module is from the head: the last stage 1, the stem the most."""
    if module.startswith('stem'):
      return self.stages_count() + 1
    return next((self.stages_count() - b.stage for b in self.blocks() if b.name == module), 0)

  def run_stem(self, x, train: bool, stem: Callable):
    """`stem(x, train)`, as in evaluation and without a gradient if it is frozen."""
    if not self.frozen_stages:
      return stem(x, train)
    return jax.lax.stop_gradient(stem(x, False))

  def run_blocks(self, x, train: bool, layer: layers.Layers):
    """All blocks in turn; shows each stage's output on request (see `models.inside`).

    Args:
      x: `[B, H, W, C]`, the stem's output.
      train: training, but for the frozen stages.
      layer: the network's layers.
    """
    remat = REMAT[self.remat]
    for block, rate in zip(self.blocks(), self.drop_path_rates()):
      frozen = block.stage < self.frozen_stages
      module = (remat(block.module) if train else block.module)(
        block, self.slot(block), self.attention, layer, rate, name=block.name
      )
      x = module(x, train and not frozen)
      if block.last:
        self.sow('intermediates', f'stage_{block.stage + 1}', x)
        if block.stage + 1 == self.frozen_stages:
          x = jax.lax.stop_gradient(x)
    return x

  def classify(self, x, train: bool):
    """Global mean, dropout, classifier: `[B, H, W, C]` -> float32 logits `[B, num_classes]`."""
    x = GlobalPool()(x)
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return nn.Dense(
      self.num_classes, kernel_init=self.classifier_init,
      bias_init=self.classifier_bias_init(x.shape[-1]), name='classifier',
    )(x)

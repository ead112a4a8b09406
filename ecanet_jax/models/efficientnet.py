"""EfficientNet (Tan and Le, ICML 2019) with an attention slot, and its lite form.

`x` is `[B, H, W, C]`. Parameter names: stem, stem_bn, blocks_S_B (stage S and block B from 0, as in
timm) with expand, expand_bn, depthwise, depthwise_bn, attention, project, project_bn, then head,
head_bn, classifier.
"""

import dataclasses
from collections.abc import Iterator

import flax.linen as nn
import jax.numpy as jnp

from ecanet_jax import layers
from ecanet_jax.attention import Attention, Slot, check, make_attention
from ecanet_jax.errors import UserError, lookup
from ecanet_jax.models.record import Network

POSITIONS = ('depthwise', 'end')  # after the depthwise convolution; after the projection


@dataclasses.dataclass(frozen=True)
class Stage:
  """One row of the table: `repeats` MBConv blocks, the first with the stride."""

  expand: int
  channels: int
  repeats: int
  stride: int
  kernel: int


@dataclasses.dataclass(frozen=True)
class Block:
  """Static facts of one MBConv block; stage and index count from 0."""

  stage: int
  index: int
  in_channels: int
  out_channels: int
  expand: int
  kernel: int
  stride: int

  @property
  def name(self) -> str:
    return f'blocks_{self.stage}_{self.index}'

  @property
  def expanded(self) -> int:
    return self.in_channels * self.expand

  @property
  def has_skip(self) -> bool:
    return self.stride == 1 and self.in_channels == self.out_channels


# EfficientNet paper, Table 1.
B0 = (
  Stage(expand=1, channels=16, repeats=1, stride=1, kernel=3),
  Stage(expand=6, channels=24, repeats=2, stride=2, kernel=3),
  Stage(expand=6, channels=40, repeats=2, stride=2, kernel=5),
  Stage(expand=6, channels=80, repeats=3, stride=2, kernel=3),
  Stage(expand=6, channels=112, repeats=3, stride=1, kernel=5),
  Stage(expand=6, channels=192, repeats=4, stride=2, kernel=5),
  Stage(expand=6, channels=320, repeats=1, stride=1, kernel=3),
)

# Every kind of block in little: for tests and for trying a set-up.
TINY = (
  Stage(expand=1, channels=8, repeats=1, stride=1, kernel=3),
  Stage(expand=3, channels=16, repeats=2, stride=2, kernel=5),
  Stage(expand=3, channels=24, repeats=1, stride=2, kernel=3),
)


class MBConv(nn.Module):
  """Inverted bottleneck: expand, depthwise, attention, project, with a skip where shapes allow."""

  block: Block
  slot: Slot
  attention: Attention
  preset: layers.Preset
  bn_groups: int
  drop_path: float
  depthwise: str
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x, train: bool):
    def norm(name):
      return layers.BatchNorm(self.preset, self.bn_groups, self.dtype, name=name)

    act = layers.ACTIVATION[self.slot.activation]
    attend = make_attention(self.attention, self.slot, self.dtype)
    block, y = self.block, x
    if block.expand != 1:
      y = layers.PointwiseConv(block.expanded, dtype=self.dtype, name='expand')(y)
      y = act(norm('expand_bn')(y, train))
    y = layers.DepthwiseConv(
      block.kernel, block.stride, self.preset.padding, self.depthwise, self.dtype, name='depthwise'
    )(y)
    y = act(norm('depthwise_bn')(y, train))
    if attend is not None and self.attention.position == 'depthwise':
      y = attend(y)
    y = layers.PointwiseConv(block.out_channels, dtype=self.dtype, name='project')(y)
    y = norm('project_bn')(y, train)
    if attend is not None and self.attention.position == 'end':
      y = attend(y)
    if block.has_skip:
      if train and self.drop_path > 0:
        y = layers.drop_path(y, self.drop_path, self.make_rng('dropout'))
      y = y + x
    return y


class EfficientNet(nn.Module):
  """EfficientNet: stem, stages of MBConv blocks, head, classifier.

  Attributes:
    stages: the table.
    attention: kind, where, position and k of the attention slot.
    preset: 'torch' (symmetric padding, eps 1e-5) or 'tf' (SAME, eps 1e-3).
    activation: a name of `layers.ACTIVATION`.
    stem: channels of the stem.
    head: channels of the last 1x1 convolution.
    num_classes: outputs of the classifier.
    dropout: rate before the classifier.
    drop_path: stochastic depth; block i of n drops with rate drop_path * i / n.
    bn_groups: 1 = statistics of the whole global batch, N = of each N-th of it.
    bn_decay: of the running statistics; None = the preset's.
    depthwise: implementation of the depthwise convolution, see `ops.depthwise`.
    dtype: what the layers compute in; parameters, statistics and logits are float32.
  """

  stages: tuple[Stage, ...] = B0
  attention: Attention = Attention()
  preset: str = 'torch'
  activation: str = 'swish'
  stem: int = 32
  head: int = 1280
  num_classes: int = 1000
  dropout: float = 0.2
  drop_path: float = 0.2
  bn_groups: int = 1
  bn_decay: float | None = None
  depthwise: str = 'auto'
  dtype: jnp.dtype = jnp.float32

  def check(self) -> None:
    """Raises UserError for a combination that this family does not have."""
    lookup(layers.PRESET, self.preset, 'preset')
    lookup(layers.ACTIVATION, self.activation, 'activation')
    check(self.attention, POSITIONS, len(self.stages))
    for field in ('dropout', 'drop_path'):
      if not 0 <= getattr(self, field) < 1:
        raise UserError(f'{field}={getattr(self, field)} must be at least 0 and below 1.')
    for field in ('num_classes', 'bn_groups'):
      if getattr(self, field) < 1:
        raise UserError(f'{field}={getattr(self, field)} must be at least 1.')

  def blocks(self) -> Iterator[Block]:
    """The blocks from stem to head."""
    channels = self.stem
    for s, stage in enumerate(self.stages):
      for b in range(stage.repeats):
        yield Block(
          s, b, channels, stage.channels, stage.expand, stage.kernel, stage.stride if b == 0 else 1
        )
        channels = stage.channels

  def slot(self, block: Block) -> Slot:
    """What the block's attention slot knows of its place."""
    return Slot(
      stage=block.stage + 1,
      stages=len(self.stages),
      block_channels=block.in_channels,
      channels=block.expanded if self.attention.position == 'depthwise' else block.out_channels,
      has_skip=block.has_skip,
      activation=self.activation,
    )

  @nn.compact
  def __call__(self, x, train: bool):
    """Maps images `[B, H, W, 3]`, normalised, to float32 logits `[B, num_classes]`."""
    preset = layers.PRESET[self.preset]
    if self.bn_decay is not None:
      preset = dataclasses.replace(preset, bn_decay=self.bn_decay)
    act = layers.ACTIVATION[self.activation]

    def norm(name):
      return layers.BatchNorm(preset, self.bn_groups, self.dtype, name=name)

    x = layers.Conv(self.stem, 3, 2, preset.padding, self.dtype, name='stem')(x)
    x = act(norm('stem_bn')(x, train))
    blocks = list(self.blocks())
    for i, block in enumerate(blocks):
      x = MBConv(
        block, self.slot(block), self.attention, preset, self.bn_groups,
        self.drop_path * i / len(blocks), self.depthwise, self.dtype, name=block.name,
      )(x, train)
    x = layers.PointwiseConv(self.head, dtype=self.dtype, name='head')(x)
    x = act(norm('head_bn')(x, train))
    x = x.astype(jnp.float32).mean((1, 2))  # [B, H, W, C] -> [B, C]
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return nn.Dense(self.num_classes, kernel_init=layers.dense_uniform, name='classifier')(x)


_PAPER = 'Tan and Le, EfficientNet, ICML 2019, Table 1'
_ECA = 'B0 with ECA in place of SE: hyugen blog; Wang et al., ECA-Net, CVPR 2020, Eq. 6 and 9'
_LITE = 'tensorflow/tpu, efficientnet/lite: B0 without SE, with ReLU6'
_LITE_ARGUMENTS = {'activation': 'relu6'}

NETWORKS = (
  Network('efficientnet_b0', EfficientNet, _PAPER + '; PyTorch padding and eps',
          {'attention': Attention('se')}, 5_288_548, timm='efficientnet_b0'),
  Network('tf_efficientnet_b0', EfficientNet, _PAPER + '; TensorFlow padding and eps',
          {'attention': Attention('se'), 'preset': 'tf'}, 5_288_548, timm='tf_efficientnet_b0'),
  Network('eca_efficientnet_b0', EfficientNet, _ECA,
          {'attention': Attention('eca')}, 4_652_084, timm='efficientnet_b0',
          timm_arguments={'se_layer': 'eca'}),
  Network('tf_eca_efficientnet_b0', EfficientNet, _ECA + '; TensorFlow padding and eps',
          {'attention': Attention('eca'), 'preset': 'tf'}, 4_652_084, timm='tf_efficientnet_b0',
          timm_arguments={'se_layer': 'eca'}),
  Network('efficientnet_b0_noattention', EfficientNet, 'B0 without SE (noSE@all)',
          {}, 4_652_008),
  Network('efficientnet_lite0', EfficientNet, _LITE + '; PyTorch padding and eps',
          _LITE_ARGUMENTS, 4_652_008, timm='efficientnet_lite0'),
  Network('tf_efficientnet_lite0', EfficientNet, _LITE + '; TensorFlow padding and eps',
          {**_LITE_ARGUMENTS, 'preset': 'tf'}, 4_652_008, timm='tf_efficientnet_lite0'),
  Network('tiny_efficientnet', EfficientNet, 'ours: every kind of block in little, for tests',
          {'stages': TINY, 'stem': 8, 'head': 32, 'attention': Attention('eca')}),
)

"""EfficientNet (Tan and Le, ICML 2019) and its lite form, with an attention slot.

`x` is `[B, H, W, C]`. Parameter names: stem, stem_bn, blocks_S_B (stage S and block B from 0, as in
timm) with expand, expand_bn, depthwise, depthwise_bn, attention, project, project_bn, then head,
head_bn, classifier. mec.py, compact.py and mobilenetv2.py use it with other blocks.
"""

import dataclasses
import math
from collections.abc import Iterator

import flax.linen as nn

from ecanet_jax.models.convnet import BlockModule, ConvNet
from ecanet_jax.nn import initializers
from ecanet_jax.nn.attention import Attention
from ecanet_jax.nn.block import Block
from ecanet_jax.nn.layers import Layers
from ecanet_jax.runtime.errors import UserError

POSITIONS = ('depthwise', 'end', 'pre', 'identity', 'post')

# tensorflow/tpu, efficientnet_model.py: SE's reduction is relative to the block's input; biases.
SLOT = Attention(reduction=4.0, reduction_of='block', bias=True)


@dataclasses.dataclass(frozen=True)
class MBBlock(Block):
  """Facts of a block in an EfficientNet."""

  expands: bool = True  # whether it has an expanding 1x1 convolution


class MBConv(BlockModule):
  """Inverted bottleneck: expand, depthwise, attention, project, and a skip if shapes allow.

  Sandler et al., MobileNetV2, CVPR 2018, Table 1; the attention: Tan and Le, MnasNet, Fig. 7(d).
  """

  @nn.compact
  def __call__(self, x, train: bool):
    block, layer = self.block, self.layers
    y = self.attend('pre', x, train)
    if block.expands:
      y = layer.conv_bn(y, 'expand', train, block.mid_channels)
    y = layer.depthwise_bn(
      y, 'depthwise', train, block.kernel, block.stride, attention=self.attention_at('depthwise')
    )
    y = layer.conv_bn(
      y, 'project', train, block.out_channels, act=False, attention=self.attention_at('end')
    )
    return self.add_skip(x, y, train)


@dataclasses.dataclass(frozen=True)
class Stage:
  """One row of a network's table: `repeats` blocks, the first with the stride.

  Attributes:
    expand: mid channels / base channels.
    channels: of the output.
    repeats: number of blocks.
    stride: of the first block.
    kernel: of the k x k convolutions.
    block: module of the first block.
    rest: module of the others; None = the same.
    expand_of: the base channels: the block's 'in' or 'out'.
    expand_always: the expanding convolution exists even with expand=1.
    skip: whether blocks add their input if shapes allow.
  """

  expand: float
  channels: int
  repeats: int
  stride: int
  kernel: int
  block: type[BlockModule] = MBConv
  rest: type[BlockModule] | None = None
  expand_of: str = 'in'
  expand_always: bool = False
  skip: bool = True


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

# One small block of each kind, for tests and for trying a set-up.
TINY = (
  Stage(expand=1, channels=8, repeats=1, stride=1, kernel=3),
  Stage(expand=3, channels=16, repeats=2, stride=2, kernel=5),
  Stage(expand=3, channels=24, repeats=1, stride=2, kernel=3),
)


def compound_scaling(
  phi: float, alpha: float = 1.2, beta: float = 1.1, gamma: float = 1.15
) -> tuple[float, float, float]:
  """Depth, width and resolution multipliers alpha^phi, beta^phi, gamma^phi (Tan and Le, Eq. 3).

  The published B1 to B7 only come close to it; see `efficientnet_networks.SCALE`.
  """
  return alpha**phi, beta**phi, gamma**phi


def round_channels(channels: float, divisor: int = 8) -> int:
  """Rounds to a multiple of the divisor, at most 10 % down (TF EfficientNet)."""
  rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
  return rounded + divisor if rounded < 0.9 * channels else rounded


class EfficientNet(ConvNet):
  """EfficientNet: stem, stages of MBConv blocks, head, classifier.

  Attributes (beside ConvNet's):
    stages: the table.
    width: factor of all channels, which are rounded to multiples of 8.
    depth: factor of all repeats, which are rounded up.
    scale_ends: width and depth also apply to stem, head, first and last stage (not in lite).
    stem_width: channels of the stem.
    stem_stride: 2, or 1 for images of about 32 pixels.
    head_width: channels of the last 1x1 convolution.
  """

  attention: Attention = SLOT
  activation: str = 'swish'
  dropout: float = 0.2
  drop_path: float = 0.2
  stages: tuple[Stage, ...] = B0
  width: float = 1.0
  depth: float = 1.0
  scale_ends: bool = True
  stem_width: int = 32
  stem_stride: int = 2
  head_width: int = 1280

  positions = POSITIONS
  standard = 'depthwise'
  timm_classifier_init = staticmethod(initializers.dense_uniform_of_outputs)

  def check(self) -> None:
    for field in ('width', 'depth'):
      if getattr(self, field) <= 0:
        raise UserError(f'{field}={getattr(self, field)} must be above 0.')
    if self.stem_stride not in (1, 2):
      raise UserError(f'stem_stride={self.stem_stride} must be 1 or 2.')
    super().check()

  def blocks(self) -> Iterator[MBBlock]:
    channels = self.stem_channels()
    for s, stage in enumerate(self.stages):
      end = s in (0, len(self.stages) - 1) and not self.scale_ends
      repeats = stage.repeats if end else math.ceil(self.depth * stage.repeats)
      out = round_channels(stage.channels * self.width)
      for b in range(repeats):
        module = (stage.rest or stage.block) if b else stage.block
        stride = 1 if b else stage.stride
        base = out if stage.expand_of == 'out' else channels
        expanding = module is MBConv
        skips = stage.skip and stride == 1 and channels == out
        yield MBBlock(
          name=f'blocks_{s}_{b}', stage=s + 1, index=b, last=b == repeats - 1,
          kind=f'MBConv{stage.expand:g}' if expanding else module.__name__,
          in_channels=channels, mid_channels=int(stage.expand * base) if expanding else out,
          out_channels=out, kernel=stage.kernel, stride=stride,
          has_skip=skips, adds=skips, base_channels=base, module=module,
          expands=stage.expand != 1 or stage.expand_always,
          released_k=self.released_k(out),
        )
        channels = out

  def released_k(self, out_channels: int) -> int | None:
    """ECA's kernel size in its authors' weights of this network; None if there are none."""
    return None

  def stem_channels(self) -> int:
    return round_channels(self.stem_width * self.width) if self.scale_ends else self.stem_width

  def head_channels(self) -> int:
    return round_channels(self.head_width * self.width) if self.scale_ends else self.head_width

  def stem_layers(self, layer: Layers, x, train: bool):
    return layer.conv_bn(x, 'stem', train, self.stem_channels(), 3, self.stem_stride)

  def head_layers(self, layer: Layers, x, train: bool):
    return layer.conv_bn(x, 'head', train, self.head_channels())

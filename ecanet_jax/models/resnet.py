"""ResNet and its descendants (ResNeXt, ResNet-D, SENet-154) with an attention slot.

He et al., Deep Residual Learning, CVPR 2016, Fig. 5 and Table 1; Xie et al., ResNeXt, CVPR 2017,
Table 1; He et al., Bag of Tricks, CVPR 2019, Fig. 2 (ResNet-D); Hu et al., SENet, CVPR 2018.

`x` is `[B, H, W, C]`. Parameter names: stem, stem_bn (a deep stem: stem_1, stem_1_bn, ..., stem_3,
stem_3_bn), blocks_S_B (stage S and block B from 0) with conv_1, conv_1_bn, conv_2, conv_2_bn, in a
bottleneck conv_3, conv_3_bn, then attention, shortcut, shortcut_bn; classifier. The registered
networks are in resnet_networks.py.
"""

import dataclasses
from collections.abc import Callable, Iterator

import flax.linen as nn

from ecanet_jax.models.convnet import BlockModule, ConvNet
from ecanet_jax.nn import initializers
from ecanet_jax.nn.attention import Attention
from ecanet_jax.nn.block import Block
from ecanet_jax.nn.layers import Layers
from ecanet_jax.runtime.errors import UserError, lookup

POSITIONS = ('end', 'depthwise', 'pre', 'post', 'identity', 'conv')

# ECA-Net, Eq. 2, and the SENet paper: r = 16; ECA-Net's counts are without biases.
SLOT = Attention(reduction=16.0, bias=False)

# Channels of the stem's convolutions from its width: one 7x7, three 3x3, or one 3x3 for images of
# about 32 pixels, without stride and pooling (ResNet paper, section 4.2).
SMALL_STEM = '3x3'
STEM: dict[str, Callable[[int], tuple[int, ...]]] = {
  '7x7': lambda width: (width,),
  SMALL_STEM: lambda width: (width,),
  'deep': lambda width: (width, width, 2 * width),
  'deep_tiered': lambda width: (width // 4 * 3, width, 2 * width),
}

STEM_POOL = ('symmetric', 'same', 'ceil')  # of `pooling.explicit_padding`

# BangguWu/ECANet, README: k per stage of the released weights, by bottleneck and depths.
RELEASED_K = {
  (False, (2, 2, 2, 2)): (3, 5, 7, 7),
  (False, (3, 4, 6, 3)): (3, 3, 5, 7),
  (True, (3, 4, 6, 3)): (3, 5, 5, 7),
  (True, (3, 4, 23, 3)): (3, 3, 5, 7),
  (True, (3, 8, 36, 3)): (3, 3, 5, 7),
}


@dataclasses.dataclass(frozen=True)
class ResBlock(Block):
  """Facts of a block in a ResNet.

  Attributes (beside Block's):
    first_channels: output channels of a bottleneck's first 1x1 convolution.
    groups: of the k x k convolution.
    stride_1x1: whether a bottleneck strides in its first 1x1 convolution.
    pools: whether the shortcut averages 2 x 2 pixels before its projection.
    shortcut_kernel: of the projection.
    zero_init: whether the scale of the branch's last BatchNorm starts at 0.
  """

  first_channels: int = 0
  groups: int = 1
  stride_1x1: bool = False
  pools: bool = False
  shortcut_kernel: int = 1
  zero_init: bool = False


class Residual(BlockModule):
  """activation(branch(x) + shortcut(x)) with the attention; a subclass has the branch."""

  @nn.compact
  def __call__(self, x, train: bool):
    y = self.dropped(self.branch(self.attend('pre', x, train), train), train)
    x = self.attend('identity', self.shortcut(x, train), train)
    return self.attend('post', self.layers.act(x + y), train)

  def branch(self, x, train: bool):
    """`[B, H, W, in]` -> `[B, H / stride, W / stride, out]`, with the attention at 'end'."""
    raise NotImplementedError

  def shortcut(self, x, train: bool):
    """x in the shape of the output: unchanged, or projected (ResNet paper, option B)."""
    block, layer = self.block, self.layers
    if block.has_skip:
      return x
    kernel, stride = block.shortcut_kernel, block.stride
    if block.pools:
      if stride > 1:  # at an odd edge, the mean is of the pixels inside
        x = layer.pool(x, 'mean', 2, stride, 'ceil')
      kernel = stride = 1
    return layer.conv_bn(x, 'shortcut', train, block.out_channels, kernel, stride, act=False)

  def main_conv(self, x, name: str, stride: int, train: bool):
    """The k x k convolution or the attention that replaces it, BatchNorm, activation, attention."""
    block, layer = self.block, self.layers
    attention = self.attention_at('conv')
    if attention is not None:
      return layer.act(layer.norm(attention(x, train), f'{name}_bn', train))
    return layer.conv_bn(
      x, name, train, block.mid_channels, block.kernel, stride, groups=block.groups,
      attention=self.attention_at('depthwise'),
    )

  def last_conv(self, x, name: str, kernel: int, train: bool):
    """The branch's last convolution, BatchNorm and the attention at 'end'."""
    return self.layers.conv_bn(
      x, name, train, self.block.out_channels, kernel, act=False, zero_init=self.block.zero_init,
      attention=self.attention_at('end'),
    )


class Basic(Residual):
  """Two 3x3 convolutions (ResNet paper, Fig. 5 left)."""

  kind = 'basic'
  expansion = 1

  def branch(self, x, train):
    y = self.main_conv(x, 'conv_1', self.block.stride, train)
    return self.last_conv(y, 'conv_2', self.block.kernel, train)


class Bottleneck(Residual):
  """1x1, 3x3, 1x1 (ResNet paper, Fig. 5 right); with groups: ResNeXt."""

  kind = 'bottleneck'
  expansion = 4

  def branch(self, x, train):
    block = self.block
    strides = (block.stride, 1) if block.stride_1x1 else (1, block.stride)
    y = self.layers.conv_bn(x, 'conv_1', train, block.first_channels, stride=strides[0])
    y = self.main_conv(y, 'conv_2', strides[1], train)
    return self.last_conv(y, 'conv_3', 1, train)


class ResNet(ConvNet):
  """ResNet: stem, max pooling, stages of residual blocks, classifier.

  Attributes (beside ConvNet's):
    depths: blocks per stage.
    bottleneck: blocks of three convolutions instead of two.
    planes: narrow channels of the first stage; doubled in each further stage.
    groups: of the 3x3 convolutions; ResNeXt's cardinality.
    base_width: channels per group at 64 planes.
    stem: a name of STEM.
    stem_width: channels of the stem; of a deep one's second convolution.
    stem_pool: padding of the max pooling: 'symmetric', 'same', or 'ceil' (Caffe's).
    avg_down: projecting shortcuts average 2 x 2 pixels instead of skipping three (ResNet-D).
    down_kernel: of the projections with a stride; 3 in SENet-154.
    reduce_first: divides the first convolution's channels; 2 in SENet-154.
    stride_1x1: bottlenecks stride in the first 1x1 (the paper's), not in the 3x3 ('v1.5').
    last_stride: of the last stage; 1 in GSoP-Net.
    zero_init_last: the scale of each branch's last BatchNorm starts at 0 (Goyal et al. 2017).
  """

  attention: Attention = SLOT
  depths: tuple[int, ...] = (3, 4, 6, 3)
  bottleneck: bool = True
  planes: int = 64
  groups: int = 1
  base_width: int = 64
  stem: str = '7x7'
  stem_width: int = 64
  stem_pool: str = 'symmetric'
  avg_down: bool = False
  down_kernel: int = 1
  reduce_first: int = 1
  stride_1x1: bool = False
  last_stride: int = 2
  zero_init_last: bool = False

  positions = POSITIONS
  standard = 'end'
  classifier_init = staticmethod(initializers.fan_in_uniform)
  classifier_bias_init = staticmethod(initializers.bias_uniform)

  @property
  def stem_stride(self) -> int:
    return 1 if self.stem == SMALL_STEM else 4

  def check(self) -> None:
    self._check_fields()
    super().check()
    replaced = any(self.slot(block).position == 'conv' for block in self.blocks())
    if replaced and (self.groups > 1 or self.stride_1x1):
      raise UserError(
        f'attention {self.attention.kind!r} replaces 3x3 convolutions without groups and with the '
        f"block's stride: groups={self.groups} must be 1 and stride_1x1={self.stride_1x1} False."
      )

  def _check_fields(self) -> None:
    lookup(STEM, self.stem, 'stem')
    lookup(dict.fromkeys(STEM_POOL), self.stem_pool, 'stem_pool')
    if not self.depths or min(self.depths) < 1:
      raise UserError(f'depths={self.depths}: name one or more stages of at least 1 block each.')
    least = {
      'planes': 1, 'groups': 1, 'base_width': 1, 'down_kernel': 1, 'reduce_first': 1,
      'last_stride': 1, 'stem_width': 4 if self.stem == 'deep_tiered' else 1,
    }
    for field, value in least.items():
      if getattr(self, field) < value:
        raise UserError(f'{field}={getattr(self, field)} must be at least {value}.')
    if self.down_kernel % 2 == 0:
      raise UserError(f'down_kernel={self.down_kernel} must be odd, such as 1 or 3.')
    if not self.bottleneck:
      for field in ('groups', 'base_width', 'reduce_first', 'stride_1x1'):
        if getattr(self, field) != getattr(ResNet, field):
          raise UserError(
            f'{field}={getattr(self, field)} is for bottlenecks; with bottleneck=False it must be '
            f'{getattr(ResNet, field)}.'
          )
    for stage in range(len(self.depths)):
      width = self._per_group(stage)
      if not width:
        raise UserError(
          f'base_width={self.base_width} gives groups without channels where planes={self.planes}; '
          f'it must be at least {-(-64 // self.planes)}.'
        )
      if width % self.reduce_first:
        divisors = (str(d) for d in range(1, width + 1) if width % d == 0)
        raise UserError(
          f'reduce_first={self.reduce_first} does not divide the {width} channels per group of '
          f'stage {stage + 1}; it can be {", ".join(divisors)}.'
        )

  def _per_group(self, stage: int) -> int:
    return (self.planes << stage) * self.base_width // 64

  def released_k(self) -> tuple[int, ...] | None:
    """k per stage of the five networks that the ECA authors trained; None for any variant."""
    own = {field.name for field in dataclasses.fields(ResNet)}
    own -= {field.name for field in dataclasses.fields(ConvNet)}
    own -= {'depths', 'bottleneck', 'zero_init_last'}
    if any(getattr(self, field) != getattr(ResNet, field) for field in own):
      return None
    return RELEASED_K.get((self.bottleneck, self.depths))

  def blocks(self) -> Iterator[ResBlock]:
    module, released_k = Bottleneck if self.bottleneck else Basic, self.released_k()
    channels = STEM[self.stem](self.stem_width)[-1]
    for s, depth in enumerate(self.depths):
      planes = self.planes << s
      width, out = self._per_group(s) * self.groups, planes * module.expansion
      for b in range(depth):
        stride = 1 if b or not s else self.last_stride if s == len(self.depths) - 1 else 2
        yield ResBlock(
          name=f'blocks_{s}_{b}', kind=module.kind, stage=s + 1, index=b, last=b == depth - 1,
          in_channels=channels, mid_channels=width, out_channels=out, kernel=3, stride=stride,
          has_skip=stride == 1 and channels == out, adds=True, planes=planes,
          module=module, first_channels=width // self.reduce_first, groups=self.groups,
          stride_1x1=self.stride_1x1, pools=self.avg_down,
          shortcut_kernel=self.down_kernel if stride > 1 else 1, zero_init=self.zero_init_last,
          released_k=released_k and released_k[s],
        )
        channels = out

  def drop_path_rates(self) -> list[float]:
    """Block i of n: drop_path * i / (n - 1), so that the last block has drop_path (timm)."""
    blocks = sum(self.depths)
    return [self.drop_path * i / max(blocks - 1, 1) for i in range(blocks)]

  def stem_layers(self, layer: Layers, x, train: bool):
    widths = STEM[self.stem](self.stem_width)
    if self.stem == SMALL_STEM:
      return layer.conv_bn(x, 'stem', train, *widths, 3)
    deep = len(widths) > 1
    for i, width in enumerate(widths):
      name = f'stem_{i + 1}' if deep else 'stem'
      x = layer.conv_bn(x, name, train, width, 3 if deep else 7, 1 if i else 2)
    return layer.pool(x, 'max', 3, 2, self.stem_pool)

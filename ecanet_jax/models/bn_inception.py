"""BN-Inception (Ioffe and Szegedy, Batch Normalization, ICML 2015, Fig. 5) with an attention slot.

`x` is `[B, H, W, C]`. Parameter names: stem_1, stem_2_reduce, stem_2, then inception_3a to
inception_5b with branch1, branch3_reduce, branch3, double3_reduce, double3_1, double3_2, pool_proj
and attention, then classifier; each convolution has a NAME_bn.

The paper's first convolution is separable. Here it is a plain one, as in later publications of the
network and as the SENet slides' 2.03 GFLOPs imply.
"""

import dataclasses
from collections.abc import Iterator

import flax.linen as nn
import jax.numpy as jnp

from ecanet_jax.models.convnet import BlockModule, ConvNet
from ecanet_jax.models.record import Network, Published
from ecanet_jax.nn import initializers
from ecanet_jax.nn.attention import Attention
from ecanet_jax.nn.block import Block
from ecanet_jax.nn.layers import Layers
from ecanet_jax.runtime.errors import UserError

SLOT = Attention(reduction=16.0)

# Padding of the strided 3x3 max-pools. For an even size 'same' is Caffe's rule (one pixel after the
# last); for an odd one the size matches that of the convolutions beside the pool.
POOLED = 'same'


@dataclasses.dataclass(frozen=True)
class Row:
  """One inception module of the paper's table.

  Attributes:
    name: such as '3a'.
    one: channels of the 1x1 branch; 0 = none, in the strided modules.
    three: channels of the 1x1 and the 3x3 convolution of the 3x3 branch.
    double: channels of the 1x1 and of both 3x3 convolutions of the double 3x3 branch.
    pool: 'mean' or 'max'.
    projected: channels of the 1x1 convolution after the pool; 0 = none.
    stride: of the module; 2 begins a stage.
  """

  name: str
  one: int
  three: tuple[int, int]
  double: tuple[int, int]
  pool: str
  projected: int
  stride: int = 1

  def out_channels(self, in_channels: int) -> int:
    return self.one + self.three[1] + self.double[1] + (self.projected or in_channels)


# Ioffe and Szegedy, Fig. 5; in strided modules the max-pool has no projection.
TABLE = (
  Row('3a', 64, (64, 64), (64, 96), 'mean', 32),
  Row('3b', 64, (64, 96), (64, 96), 'mean', 64),
  Row('3c', 0, (128, 160), (64, 96), 'max', 0, stride=2),
  Row('4a', 224, (64, 96), (96, 128), 'mean', 128),
  Row('4b', 192, (96, 128), (96, 128), 'mean', 128),
  Row('4c', 160, (128, 160), (128, 160), 'mean', 128),
  Row('4d', 96, (128, 192), (160, 192), 'mean', 128),
  Row('4e', 0, (128, 192), (192, 256), 'max', 0, stride=2),
  Row('5a', 352, (192, 320), (160, 224), 'mean', 128),
  Row('5b', 352, (192, 320), (192, 224), 'max', 128),
)

# One small module of each kind.
TINY = (
  Row('3a', 8, (8, 8), (8, 8), 'mean', 8),
  Row('3b', 0, (8, 16), (8, 16), 'max', 0, stride=2),
  Row('4a', 16, (8, 16), (8, 16), 'max', 16),
)


@dataclasses.dataclass(frozen=True)
class InceptionBlock(Block):
  """Facts of an inception module, with its row of the table."""

  row: Row | None = None


class InceptionModule(BlockModule):
  """Branches of 1x1, 3x3, double 3x3 and pooling, concatenated."""

  @nn.compact
  def __call__(self, x, train: bool):
    row, layer = self.block.row, self.layers
    conv = lambda x, name, *sizes: layer.conv_bn(x, name, train, *sizes)
    x = self.attend('pre', x, train)
    branches = [conv(x, 'branch1', row.one)] if row.one else []
    y = conv(x, 'branch3_reduce', row.three[0])
    branches.append(conv(y, 'branch3', row.three[1], 3, row.stride))
    y = conv(x, 'double3_reduce', row.double[0])
    y = conv(y, 'double3_1', row.double[1], 3)
    branches.append(conv(y, 'double3_2', row.double[1], 3, row.stride))
    y = layer.pool(x, row.pool, 3, row.stride, POOLED)
    branches.append(conv(y, 'pool_proj', row.projected) if row.projected else y)
    return self.attend('end', jnp.concatenate(branches, -1), train)


class BNInception(ConvNet):
  """BN-Inception: stem, stages of inception modules, classifier.

  The average pools count only pixels inside the image; the paper leaves this open.

  Attributes (beside ConvNet's):
    table: the modules.
    stem_widths: channels of the stem's three convolutions.
  """

  attention: Attention = SLOT
  table: tuple[Row, ...] = TABLE
  stem_widths: tuple[int, int, int] = (64, 64, 192)

  positions = ('end', 'pre')
  standard = 'end'
  stem_stride = 8
  classifier_init = staticmethod(initializers.fan_in_uniform)
  classifier_bias_init = staticmethod(initializers.bias_uniform)

  def check(self) -> None:
    super().check()
    if self.drop_path:
      raise UserError(
        f'drop_path={self.drop_path} must be 0: BN-Inception has no residual branches to drop.'
      )

  def blocks(self) -> Iterator[InceptionBlock]:
    channels, stage, index = self.stem_widths[-1], 1, 0
    for number, row in enumerate(self.table):
      if number and row.stride > 1:
        stage, index = stage + 1, 0
      following = self.table[number + 1 : number + 2]
      out = row.out_channels(channels)
      yield InceptionBlock(
        name=f'inception_{row.name}', kind='inception', stage=stage, index=index,
        last=not following or following[0].stride > 1,
        in_channels=channels, mid_channels=row.three[1], out_channels=out, kernel=3,
        stride=row.stride, has_skip=False, adds=False, module=InceptionModule, row=row,
      )
      channels, index = out, index + 1

  def stem_layers(self, layer: Layers, x, train: bool):
    x = layer.conv_bn(x, 'stem_1', train, self.stem_widths[0], 7, 2)
    x = layer.pool(x, 'max', 3, 2, POOLED)
    x = layer.conv_bn(x, 'stem_2_reduce', train, self.stem_widths[1])
    x = layer.conv_bn(x, 'stem_2', train, self.stem_widths[2], 3)
    self.sow('intermediates', 'stride_4', x)
    return layer.pool(x, 'max', 3, 2, POOLED)


_PAPER = 'Ioffe and Szegedy, Batch Normalization, ICML 2015, Fig. 5'
_SLIDES = 'slides, Squeeze-and-Excitation Networks and Efficient Networks, results'


def _printed(column: str, multiply_adds: str, top1: str, top5: str) -> Published:
  return Published(f'{_SLIDES}, {column}', multiply_adds=multiply_adds,
                   convention='squeeze_and_scale', top1=top1, top5=top5)


_ECA = {'attention': dataclasses.replace(SLOT, kind='eca')}

NETWORKS = (
  Network('bn_inception', BNInception, _PAPER, {},
          (_printed('re-implementation', '2.03', '74.62', '92.11'),
           Published(f'{_SLIDES}, original', top1='74.8', top5='92.18'))),
  Network('se_bn_inception', BNInception, f'{_PAPER}; SE at the end of each module',
          {'attention': dataclasses.replace(SLOT, kind='se')},
          (_printed('SENet', '2.04', '75.77', '92.86'),)),
  Network('eca_bn_inception', BNInception, f'{_PAPER}; ECA in place of SE', _ECA),
  Network('tiny_bn_inception', BNInception, 'ours: one small module of each kind, for tests',
          {'table': TINY, 'stem_widths': (8, 8, 16), **_ECA}, image_size=32),
)

"""Inception-ResNet-v2 (Szegedy et al., AAAI 2017) as in TF-slim, with an attention slot.

tensorflow/models, research/slim, nets/inception_resnet_v2.py: no padding in the stem and where the
map is halved. `x` is `[B, H, W, C]`. Parameter names: stem_1a to stem_4a, then mixed_5b, block35_N,
mixed_6a, block17_N, mixed_7a, block8_N (from 1) with branchI_J (convolution J of branch I, from 0),
pool_proj, up and attention, then head, classifier; each convolution except up has a NAME_bn.
"""

import dataclasses
from collections.abc import Iterator

import flax.linen as nn
import jax.numpy as jnp

from ecanet_jax.models.convnet import BlockModule, ConvNet
from ecanet_jax.models.efficientnet import round_channels
from ecanet_jax.models.record import Network, Published
from ecanet_jax.nn import initializers
from ecanet_jax.nn.attention import Attention
from ecanet_jax.nn.block import Block
from ecanet_jax.nn.layers import Layers
from ecanet_jax.runtime.errors import UserError

SLOT = Attention(reduction=16.0)

LEAST = 75  # smallest image in pixels that leaves a pixel for the last stage


@dataclasses.dataclass(frozen=True)
class Conv:
  """One convolution with BatchNorm in a branch; no padding if the stride is 2."""

  channels: int
  kernel: int | tuple[int, int] = 1
  stride: int = 1


Branch = tuple[Conv, ...]


@dataclasses.dataclass(frozen=True)
class Stage:
  """A module that changes channels, and size by its stride; then residual blocks.

  Attributes:
    mixed: the module's name.
    branches: of the module.
    pool: of the module's last branch: 'mean' or 'max'.
    projected: channels of a 1x1 convolution after the pool; 0 = none.
    stride: of the module.
    block: name of the residual blocks.
    inner: branches of a residual block.
    scale: factor of a residual block's branches before the addition.
  """

  mixed: str
  branches: tuple[Branch, ...]
  pool: str
  projected: int
  stride: int
  block: str
  inner: tuple[Branch, ...]
  scale: float


# TF-slim; Szegedy et al., Fig. 5, 7, 16, 17, 18 and 19 with other widths.
TABLE = (
  Stage(
    'mixed_5b',
    (
      (Conv(96),),
      (Conv(48), Conv(64, 5)),
      (Conv(64), Conv(96, 3), Conv(96, 3)),
    ),
    pool='mean', projected=64, stride=1,
    block='block35',
    inner=(
      (Conv(32),),
      (Conv(32), Conv(32, 3)),
      (Conv(32), Conv(48, 3), Conv(64, 3)),
    ),
    scale=0.17,
  ),
  Stage(
    'mixed_6a',
    (
      (Conv(384, 3, 2),),
      (Conv(256), Conv(256, 3), Conv(384, 3, 2)),
    ),
    pool='max', projected=0, stride=2,
    block='block17',
    inner=(
      (Conv(192),),
      (Conv(128), Conv(160, (1, 7)), Conv(192, (7, 1))),
    ),
    scale=0.1,
  ),
  Stage(
    'mixed_7a',
    (
      (Conv(256), Conv(384, 3, 2)),
      (Conv(256), Conv(288, 3, 2)),
      (Conv(256), Conv(288, 3), Conv(320, 3, 2)),
    ),
    pool='max', projected=0, stride=2,
    block='block8',
    inner=(
      (Conv(192),),
      (Conv(192), Conv(224, (1, 3)), Conv(256, (3, 1))),
    ),
    scale=0.2,
  ),
)


@dataclasses.dataclass(frozen=True)
class InceptionResNetBlock(Block):
  """Facts of a module.

  Attributes (beside Block's):
    branches: of its convolutions, with the network's widths.
    pool: of its last branch; '' in a residual block.
    projected: channels of the 1x1 convolution after the pool; 0 = none.
    scale: factor of the branches before the addition.
    activated: whether a residual block ends with the activation.
  """

  branches: tuple[Branch, ...] = ()
  pool: str = ''
  projected: int = 0
  scale: float = 1.0
  activated: bool = True


class InceptionResNetModule(BlockModule):
  """Base of both kinds of module."""

  def branches(self, x, train: bool) -> list:
    """Outputs of the branches, without the pool's."""
    return [self._branch(x, i, train) for i in range(len(self.block.branches))]

  def _branch(self, x, number: int, train: bool):
    for j, conv in enumerate(self.block.branches[number]):
      x = self.layers.conv_bn(
        x, f'branch{number}_{j}', train, conv.channels, conv.kernel, conv.stride,
        padding='valid' if conv.stride > 1 else 'same',
      )
    return x


class Mixed(InceptionResNetModule):
  """Branches and a pool, concatenated."""

  @nn.compact
  def __call__(self, x, train: bool):
    block, layer = self.block, self.layers
    x = self.attend('pre', x, train)
    y = layer.pool(x, block.pool, 3, block.stride, 'valid' if block.stride > 1 else 'same')
    if block.projected:
      y = layer.conv_bn(y, 'pool_proj', train, block.projected)
    y = jnp.concatenate([*self.branches(x, train), y], -1)
    return self.attend('post', self.attend('end', y, train), train)


class Residual(InceptionResNetModule):
  """Branches, a 1x1 convolution with bias, attention, scale, and the addition.

  Attention at 'end' sees the residual branch before it is scaled (SENet paper, Fig. 3): the scale
  belongs to the addition.
  """

  @nn.compact
  def __call__(self, x, train: bool):
    block, layer = self.block, self.layers
    y = jnp.concatenate(self.branches(self.attend('pre', x, train), train), -1)
    y = self.attend('end', layer.conv(y, 'up', block.out_channels, use_bias=True), train)
    y = self.dropped(y * block.scale, train) + self.attend('identity', x, train)
    return self.attend('post', layer.act(y) if block.activated else y, train)


class InceptionResNetV2(ConvNet):
  """Inception-ResNet-v2: stem, stages of a mixed module and residual blocks, head, classifier.

  Attributes (beside ConvNet's):
    repeats: residual blocks of each stage; the very last one has neither scale nor activation.
    width: multiplies all channels, rounded to multiples of 8.
  """

  attention: Attention = SLOT
  dropout: float = 0.2
  repeats: tuple[int, int, int] = (10, 20, 10)
  width: float = 1.0

  positions = ('end', 'pre', 'identity', 'post')
  standard = 'end'
  stem_stride = 8
  classifier_init = staticmethod(initializers.fan_in_uniform)
  classifier_bias_init = staticmethod(initializers.bias_uniform)

  def check(self) -> None:
    if len(self.repeats) != len(TABLE) or min(self.repeats) < 1:
      raise UserError(
        f'repeats={self.repeats} must be {len(TABLE)} numbers of at least 1, such as (10, 20, 10).'
      )
    if self.width <= 0:
      raise UserError(f'width={self.width} must be above 0.')
    super().check()

  def widened(self, channels: int) -> int:
    return round_channels(channels * self.width)

  def blocks(self) -> Iterator[InceptionResNetBlock]:
    channels = self.widened(192)
    for s, (stage, repeats) in enumerate(zip(TABLE, self.repeats)):
      branches, ends = self._widened(stage.branches)
      projected = self.widened(stage.projected) if stage.projected else 0
      out = ends + (projected or channels)
      yield InceptionResNetBlock(
        name=stage.mixed, kind=stage.mixed, stage=s + 1, index=0, last=False,
        in_channels=channels, mid_channels=ends, out_channels=out,
        kernel=max(_kernels(branches)), stride=stage.stride, has_skip=False, adds=False,
        module=Mixed, branches=branches, pool=stage.pool, projected=projected,
      )
      channels = out
      branches, ends = self._widened(stage.inner)
      for i in range(1, repeats + 1):
        last = i == repeats
        final = last and stage is TABLE[-1]
        yield InceptionResNetBlock(
          name=f'{stage.block}_{i}', kind=stage.block, stage=s + 1, index=i, last=last,
          in_channels=channels, mid_channels=ends, out_channels=channels,
          kernel=max(_kernels(branches)), stride=1, has_skip=True, adds=True, module=Residual,
          branches=branches, scale=1.0 if final else stage.scale, activated=not final,
        )

  def _widened(self, branches: tuple[Branch, ...]) -> tuple[tuple[Branch, ...], int]:
    """The branches with this network's channels, and the sum of their output channels."""
    widened = tuple(
      tuple(dataclasses.replace(conv, channels=self.widened(conv.channels)) for conv in branch)
      for branch in branches
    )
    return widened, sum(branch[-1].channels for branch in widened)

  def stem_layers(self, layer: Layers, x, train: bool):
    # Parameters do not depend on the size: initialisation accepts any.
    if min(x.shape[1:3]) < LEAST and not self.is_initializing():
      raise UserError(
        f'images of {x.shape[1]} x {x.shape[2]} pixels are too small for Inception-ResNet-v2, '
        f'whose convolutions have no padding: at least {LEAST} x {LEAST}.'
      )
    conv = lambda x, name, channels, kernel, stride=1, padding='valid': layer.conv_bn(
      x, f'stem_{name}', train, self.widened(channels), kernel, stride, padding=padding
    )
    x = conv(x, '1a', 32, 3, 2)
    x = conv(x, '2a', 32, 3)
    x = conv(x, '2b', 64, 3, padding='same')
    x = layer.pool(x, 'max', 3, 2, 'valid')
    x = conv(x, '3b', 80, 1)
    x = conv(x, '4a', 192, 3)
    self.sow('intermediates', 'stride_4', x)
    return layer.pool(x, 'max', 3, 2, 'valid')

  def head_layers(self, layer: Layers, x, train: bool):
    return layer.conv_bn(x, 'head', train, self.widened(1536))


def _kernels(branches: tuple[Branch, ...]) -> Iterator[int]:
  for branch in branches:
    for conv in branch:
      yield conv.kernel if isinstance(conv.kernel, int) else max(conv.kernel)


_PAPER = 'Szegedy et al., Inception-v4, AAAI 2017; TF-slim, nets/inception_resnet_v2.py'
_SLIDES = 'slides, Squeeze-and-Excitation Networks and Efficient Networks, results'
_SCALING = 'EfficientNet, ICML 2019, Table 2'
_WHY = (
  "not reproduced: TF-slim's network has 13.16 GFLOPs at 299 px, and 13B in the slides' own table "
  'of EfficientNets'
)


def _printed(column: str, multiply_adds: str, top1: str, top5: str) -> Published:
  return Published(f'{_SLIDES}, {column}', multiply_adds=multiply_adds,
                   convention='squeeze_and_scale', top1=top1, top5=top5, why=_WHY)


_EPS = {'bn_eps': 1e-3}
_ECA = {'attention': dataclasses.replace(SLOT, kind='eca'), **_EPS}

NETWORKS = (
  Network('inception_resnet_v2', InceptionResNetV2, _PAPER, _EPS,
          (_printed('re-implementation', '11.75', '79.63', '94.79'),
           Published(f'{_SLIDES}, original', top1='80.1', top5='95.1'),
           Published(_SCALING, '56', multiply_adds='13', top1='80.1', top5='95.1')),
          image_size=299, timm='inception_resnet_v2'),
  Network('se_inception_resnet_v2', InceptionResNetV2,
          f'{_PAPER}; SE at the end of each module',
          {'attention': dataclasses.replace(SLOT, kind='se'), **_EPS},
          (_printed('SENet', '11.76', '80.20', '95.21'),), image_size=299),
  Network('eca_inception_resnet_v2', InceptionResNetV2, f'{_PAPER}; ECA in place of SE', _ECA,
          image_size=299),
  Network('tiny_inception_resnet_v2', InceptionResNetV2,
          'ours: one narrow block of each kind, for tests',
          {'repeats': (1, 1, 1), 'width': 0.25, **_ECA}, image_size=LEAST),
)

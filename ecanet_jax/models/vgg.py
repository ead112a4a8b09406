"""VGG-16 (Simonyan and Zisserman, ICLR 2015), plain or with BatchNorm, with an attention slot.

`x` is `[B, H, W, C]`. Parameter names: block_N (stage N, from 1) with conv_M, conv_M_bn and
attention, then fc1, fc2, classifier. SE-VGG-16 has its attention at the end of each stage, before
the max-pool: the SENet slides do not say where, but their multiply-adds agree.
"""

import dataclasses
from collections.abc import Iterator

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from ecanet_jax.models.convnet import BlockModule, ConvNet
from ecanet_jax.models.record import Network, Published
from ecanet_jax.nn import initializers
from ecanet_jax.nn.attention import Attention
from ecanet_jax.nn.block import Block
from ecanet_jax.nn.layers import Layers
from ecanet_jax.runtime.errors import UserError

SLOT = Attention(reduction=16.0)

# VGG paper, Table 1, column D: channels and number of convolutions of each stage.
VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))

TINY = ((8, 1), (16, 2), (24, 1))

MAP = 7  # pixels of the last map at 224 px, the kernel size of fc1


@dataclasses.dataclass(frozen=True)
class VGGBlock(Block):
  """Facts of a stage.

  Attributes (beside Block's):
    convs: number of convolutions.
    batch_norm: whether each of them has a BatchNorm.
    first_layer: index of the first one in torchvision's list of all layers.
  """

  convs: int = 1
  batch_norm: bool = False
  first_layer: int = 0


class VGGStage(BlockModule):
  """3x3 convolutions with bias, attention, 2x2 max-pool."""

  @nn.compact
  def __call__(self, x, train: bool):
    block, layer = self.block, self.layers
    x = self.attend('pre', x, train)
    for i in range(1, block.convs + 1):
      attention = self.attention_at('end') if i == block.convs else None
      if block.batch_norm:
        x = layer.conv_bn(
          x, f'conv_{i}', train, block.out_channels, 3, use_bias=True, attention=attention
        )
      else:
        x = layer.act(layer.conv(x, f'conv_{i}', block.out_channels, 3, use_bias=True))
        x = x if attention is None else attention(x, train)
    return layer.pool(x, 'max', 2, 2, 'valid')


def enlarge(x, size: int):
  """Adaptive average pooling to `size` pixels of those axes H and W that have fewer.

  Output i of m is the mean of the inputs floor(i n / m) to ceil((i + 1) n / m), as in PyTorch.
  """

  def means(n: int) -> np.ndarray:
    matrix = np.zeros((size, n), np.float32)
    for i in range(size):
      window = slice(i * n // size, -(-(i + 1) * n // size))
      matrix[i, window] = 1 / (window.stop - window.start)
    return matrix

  for axis, equation in ((1, 'oh,bhwc->bowc'), (2, 'ow,bhwc->bhoc')):
    if x.shape[axis] < size:
      x = jnp.einsum(equation, means(x.shape[axis]).astype(x.dtype), x)
  return x


class VGG(ConvNet):
  """VGG: stages of convolutions, two hidden layers, classifier.

  Attributes (beside ConvNet's):
    stages: channels and number of convolutions of each stage.
    batch_norm: whether every convolution has a BatchNorm.
    mlp: width of the hidden layers; 0 = none: the classifier sees the mean of the last map, which
      suits small images.
  """

  attention: Attention = SLOT
  dropout: float = 0.5
  stages: tuple[tuple[int, int], ...] = VGG16
  batch_norm: bool = False
  mlp: int = 4096

  positions = ('end', 'pre')
  standard = 'end'
  stem_stride = 1
  classifier_init = staticmethod(initializers.dense_normal)

  def check(self) -> None:
    super().check()
    if self.drop_path:
      raise UserError(
        f'drop_path={self.drop_path} must be 0: VGG has no residual branches to drop.'
      )
    if self.mlp < 0:
      raise UserError(f'mlp={self.mlp} must be at least 0 (no hidden layers), such as 4096.')

  def blocks(self) -> Iterator[VGGBlock]:
    channels, layer = self.in_chans, 0
    for s, (out, convs) in enumerate(self.stages):
      yield VGGBlock(
        name=f'block_{s + 1}', kind=f'conv x {convs}', stage=s + 1, index=0, last=True,
        in_channels=channels, mid_channels=out, out_channels=out, kernel=3, stride=2,
        has_skip=False, adds=False, module=VGGStage,
        convs=convs, batch_norm=self.batch_norm, first_layer=layer,
      )
      layer += convs * (3 if self.batch_norm else 2) + 1  # with activations and the max-pool
      channels = out

  def stem_layers(self, layer: Layers, x, train: bool):
    least = 2 ** len(self.stages)
    if min(x.shape[1:3]) < least:
      raise UserError(
        f'images of {x.shape[1]} x {x.shape[2]} pixels are too small for VGG with '
        f'{len(self.stages)} stages, which halve them: at least {least} x {least}.'
      )
    return x

  def head_layers(self, layer: Layers, x, train: bool):
    if not self.mlp:
      return x
    # As in timm, a smaller map is enlarged; on a larger one the results are averaged.
    x = layer.conv(enlarge(x, MAP), 'fc1', self.mlp, MAP, use_bias=True, padding='valid')
    x = nn.Dropout(self.dropout, deterministic=not train)(layer.act(x))
    return layer.act(layer.conv(x, 'fc2', self.mlp, use_bias=True))


_PAPER = 'Simonyan and Zisserman, VGG, ICLR 2015, Table 1, D'
_SLIDES = 'slides, Squeeze-and-Excitation Networks and Efficient Networks, results'
_BN = _PAPER + '; BatchNorm after each convolution'


def _printed(column: str, multiply_adds: str, top1: str, top5: str) -> tuple[Published, ...]:
  """The slides' VGG-16 has BatchNorm (SENet paper, section 'Experiments')."""
  return (
    Published(f'{_SLIDES}, {column}', multiply_adds=multiply_adds, convention='squeeze_and_scale',
              top1=top1, top5=top5),
  )


_SE = {'attention': dataclasses.replace(SLOT, kind='se')}
_ECA = {'attention': dataclasses.replace(SLOT, kind='eca')}

NETWORKS = (
  Network('vgg16', VGG, _PAPER, {}, timm='vgg16'),
  Network('vgg16_bn', VGG, _BN, {'batch_norm': True},
          _printed('re-implementation', '15.47', '72.98', '91.19'), timm='vgg16_bn'),
  Network('se_vgg16', VGG, f'{_PAPER}; SE at the end of each stage', _SE),
  Network('se_vgg16_bn', VGG, f'{_BN}; SE at the end of each stage', {'batch_norm': True, **_SE},
          _printed('SENet', '15.48', '74.78', '92.30')),
  Network('eca_vgg16_bn', VGG, f'{_BN}; ECA in place of SE', {'batch_norm': True, **_ECA}),
  Network('tiny_vgg', VGG, 'ours: three narrow stages without hidden layers, for tests',
          {'stages': TINY, 'batch_norm': True, 'mlp': 0, 'dropout': 0.0, **_ECA}, image_size=32),
)

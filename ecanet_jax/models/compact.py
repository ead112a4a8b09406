"""EfficientNet-B0-compact and the ablations of its stages 2 and 3 (slides 002, third work).

B0 without SE and with ReLU6; plain convolutions replace the blocks at the highest resolution. The
slide prints 24 channels for the stem, which contradicts its own FLOPs: the stem has 32.
"""

import dataclasses
from collections.abc import Iterator

import flax.linen as nn

from ecanet_jax.models.convnet import BlockModule
from ecanet_jax.models.efficientnet import B0, EfficientNet, Stage
from ecanet_jax.models.record import MILLION, Network, Published


class PlainConvs(BlockModule):
  """A row of convolutions, the last without activation, and a skip."""

  kernels = ()

  @nn.compact
  def __call__(self, x, train: bool):
    block, layer = self.block, self.layers
    y = self.attend('pre', x, train)
    last = len(self.kernels) - 1
    for i, kernel in enumerate(self.kernels):
      y = layer.conv_bn(
        y, f'conv_{i}', train, block.out_channels, kernel, 1 if i else block.stride, act=i < last,
        attention=self.attention_at('depthwise' if kernel > 1 else 'end' if i == last else ''),
      )
    return self.add_skip(x, y, train)


class Conv31(PlainConvs):
  kernels = (3, 1)


class Conv131(PlainConvs):
  kernels = (1, 3, 1)


class SingleConv(BlockModule):
  """One convolution with BatchNorm and activation, no skip."""

  kernel = 3
  depthwise = False

  @nn.compact
  def __call__(self, x, train: bool):
    block = self.block
    y = self.layers.conv_bn(
      self.attend('pre', x, train), 'conv_0', train, block.out_channels, self.kernel, block.stride,
      groups=block.in_channels if self.depthwise else 1,
    )
    for position in ('depthwise', 'end', 'post'):
      y = self.attend(position, y, train)
    return y


class Conv3x3(SingleConv):
  pass


class Conv1x1(SingleConv):
  kernel = 1


class DWConv3x3(SingleConv):
  depthwise = True


def _single(module: type[BlockModule], channels: int) -> Stage:
  return Stage(
    expand=1, channels=channels, repeats=1, stride=1, kernel=3, block=module,
    skip=not issubclass(module, SingleConv),
  )


# B0's stage 3, split: its first block keeps 96 expanded channels behind the stem's 32.
_FIRST = dataclasses.replace(B0[1], expand=3, repeats=1)
_SECOND = dataclasses.replace(B0[1], repeats=1, stride=1)

_SLIDES = 'slides, A Compact version of EfficientNet'
_STAGE_2 = 'the rows with a depthwise convolution in stage 2 are 0.037 % above the rule of the rest'

# Stages before B0's third; printed FLOPs, top-1 error, top-5 error; why a figure is not met.
_VARIANTS = {
  'b0_compact': ((_FIRST, _single(Conv31, 24)), '4.97', '387.10', 26.95, 9.01, ''),
  'b0_conv131': ((_FIRST, _single(Conv131, 24)), '4.97', '388.91', 27.11, 8.95, ''),
  'b0_stage2_remove': ((_FIRST, _SECOND), '4.97', '394.78', 26.78, 8.87, ''),
  'b0_stage2_conv1x1': ((_single(Conv1x1, 16), B0[1]), '4.97', '381.94', 27.21, 8.92, ''),
  'b0_stage2_conv3x3': ((_single(Conv3x3, 16), B0[1]), '4.98', '433.32', 26.68, 8.71, ''),
  'b0_stage2_dwconv3x3': (
    (_single(DWConv3x3, 32), _FIRST, _SECOND), '4.97', '398.54', 26.68, 8.64, _STAGE_2
  ),
}


def _networks() -> Iterator[Network]:
  for name, (stages, parameters, flops, error1, error5, why) in _VARIANTS.items():
    published = Published(
      _SLIDES, parameters, multiply_adds=flops, multiply_add_unit=MILLION,
      convention='tf_profiler_aux', top1=f'{100 - error1:.2f}', top5=f'{100 - error5:.2f}', why=why,
    )
    yield Network(
      name, EfficientNet, _SLIDES, {'stages': (*stages, *B0[2:]), 'activation': 'relu6'},
      (published,),
    )
  tiny = tuple(_single(module, 16) for module in (Conv3x3, Conv1x1, DWConv3x3, Conv31, Conv131))
  yield Network('tiny_compact', EfficientNet, 'ours: one small block of each kind, for tests',
                {'stages': tiny, 'stem_width': 8, 'head_width': 32, 'activation': 'relu6'})


NETWORKS = tuple(_networks())

"""Mobile Equal channel Convolution networks (slides, Rethinking Mobile Inverted Bottleneck).

Blocks that keep the size have five convolutions of one width; the others are MBConv with expansion
e. The slides give no channel plan. This one, found by search, meets all 17 parameter counts to the
printed digit, and no other natural plan does.
"""

import dataclasses
from collections.abc import Iterator

import flax.linen as nn

from ecanet_jax.models.convnet import BlockModule
from ecanet_jax.models.efficientnet import SLOT, EfficientNet, MBConv, Stage
from ecanet_jax.models.record import Network, Published


class MEC(BlockModule):
  """1x1, depthwise, 1x1, depthwise, attention, 1x1, all with the output's channels; stride 1."""

  @nn.compact
  def __call__(self, x, train: bool):
    block, layer = self.block, self.layers
    y = self.attend('pre', x, train)
    y = layer.conv_bn(y, 'expand', train, block.out_channels)
    y = layer.depthwise_bn(y, 'depthwise', train, block.kernel)
    y = layer.conv_bn(y, 'middle', train, block.out_channels)
    y = layer.depthwise_bn(
      y, 'depthwise_2', train, block.kernel, attention=self.attention_at('depthwise')
    )
    y = layer.conv_bn(
      y, 'project', train, block.out_channels, act=False, attention=self.attention_at('end')
    )
    return self.add_skip(x, y, train)


def _stage(first: type[BlockModule], expand, channels, repeats, stride, kernel, expand_of='in'):
  expand_of = 'out' if first is MEC else expand_of  # MEC has only output channels
  return Stage(
    expand, channels, repeats, stride, kernel, first, MEC, expand_of, expand_always=True
  )


def table(ablation: str, e: float) -> tuple[Stage, ...]:
  """Stages of the slides' ablations.

  Args:
    ablation: 'a': blocks with stride 2 expand; 'b': all that change size or channels do; 'c': as
      'b', with e relative to the output's channels.
    e: the expansion.
  """
  of = 'out' if ablation == 'c' else 'in'
  same = MEC if ablation == 'a' else MBConv  # for blocks that change only the channels
  body = (
    _stage(same, e, 24, 1, 1, 3, of),
    _stage(MBConv, e, 48, 2, 2, 3, of),
    _stage(MBConv, e, 80, 2, 2, 5, of),
    _stage(MBConv, e, 160, 3, 2, 3, of),
    _stage(same, e, 224, 3, 1, 5, of),
  )
  if ablation == 'a':
    return (*body, _stage(MBConv, e, 320, 4, 2, 5, of), _stage(MEC, e, 448, 1, 1, 3, of))
  return (*body, _stage(MBConv, e, 320, 5, 2, 5, of))


_SLIDES = 'slides, Rethinking Mobile Inverted Bottleneck Convolution for EfficientNet'

# Ablation, e, parameters in 10^6, top-1, top-5.
_PRINTED = (
  ('a', 1, '4.62', '75.11', '92.11'),
  ('a', 2, '4.81', '75.90', '92.86'),
  ('a', 3, '5.00', '76.48', '93.17'),
  ('a', 4, '5.19', '77.03', '93.54'),
  ('a', 5, '5.37', '77.22', '93.51'),
  ('a', 6, '5.56', '77.49', '93.67'),
  ('b', 1, '4.08', '75.04', '92.34'),
  ('b', 2, '4.35', '76.36', '93.14'),
  ('b', 3, '4.62', '77.06', '93.49'),
  ('b', 4, '4.89', '77.64', '93.66'),
  ('b', 5, '5.16', '77.79', '93.79'),
  ('c', 1, '4.24', '76.13', '92.91'),
  ('c', 1.5, '4.46', '76.65', '93.25'),
  ('c', 2, '4.67', '77.26', '93.54'),
  ('c', 2.5, '4.89', '77.59', '93.67'),
  ('c', 3, '5.10', '77.84', '93.72'),
  ('c', 3.5, '5.31', '78.10', '93.99'),
)


def _networks() -> Iterator[Network]:
  attention = dataclasses.replace(SLOT, kind='se')
  for ablation, e, parameters, top1, top5 in _PRINTED:
    name = f'mec_{ablation}_e{e:g}'.replace('.', '_')
    yield Network(
      name, EfficientNet, f'{_SLIDES}, ablation {ablation}',
      {'stages': table(ablation, e), 'attention': attention},
      (Published(_SLIDES, parameters, top1=top1, top5=top5),),
    )
  tiny = (_stage(MBConv, 2, 16, 1, 1, 3), _stage(MBConv, 2, 32, 2, 2, 5))
  yield Network('tiny_mec', EfficientNet, 'ours: one small block of each kind, for tests',
                {'stages': tiny, 'stem_width': 8, 'head_width': 32, 'attention': attention})


NETWORKS = tuple(_networks())

"""MobileNetV2 (Sandler et al., CVPR 2018) with an attention slot, built like EfficientNet.

ECA-Net puts SE and ECA behind the linear projection of all 17 blocks, before the skip is added.
"""

import dataclasses

from ecanet_jax.models.efficientnet import EfficientNet, Stage
from ecanet_jax.models.record import MEBI, Network, Published
from ecanet_jax.nn import initializers
from ecanet_jax.nn.attention import Attention

# MobileNetV2 paper, Table 2.
TABLE = (
  Stage(expand=1, channels=16, repeats=1, stride=1, kernel=3),
  Stage(expand=6, channels=24, repeats=2, stride=2, kernel=3),
  Stage(expand=6, channels=32, repeats=3, stride=2, kernel=3),
  Stage(expand=6, channels=64, repeats=4, stride=2, kernel=3),
  Stage(expand=6, channels=96, repeats=3, stride=1, kernel=3),
  Stage(expand=6, channels=160, repeats=3, stride=2, kernel=3),
  Stage(expand=6, channels=320, repeats=1, stride=1, kernel=3),
)

# ECA-Net, section 'Comparisons using MobileNetV2': r = 8, layers without bias.
SLOT = Attention(reduction=8.0, activation='relu')


class MobileNetV2(EfficientNet):
  """MobileNetV2; the head never has fewer channels than at width 1."""

  attention: Attention = SLOT
  activation: str = 'relu6'
  drop_path: float = 0.0
  stages: tuple[Stage, ...] = TABLE

  standard = 'end'
  classifier_init = staticmethod(initializers.dense_normal)
  depthwise_init = staticmethod(initializers.depthwise_normal)

  def head_channels(self) -> int:
    return max(self.head_width, super().head_channels())

  def released_k(self, out_channels: int) -> int | None:
    released = self.stages == TABLE and self.width == self.depth == 1
    return (1 if out_channels < 96 else 3) if released else None


_PAPER = 'Sandler et al., MobileNetV2, CVPR 2018, Table 2'
_TABLE_2 = 'ECA-Net, CVPR 2020, Table 2'


def _printed(parameters: str, multiply_adds: str, top1: str, top5: str, why: str = ''):
  return (
    Published(_TABLE_2, parameters, MEBI, multiply_adds, MEBI, 'thop', top1, top5, why),
  )


_ECA = dataclasses.replace(SLOT, kind='eca')

NETWORKS = (
  Network('mobilenetv2_100', MobileNetV2, _PAPER, {},
          _printed('3.34', '319.4', '71.64', '90.20'), timm='mobilenetv2_100'),
  Network('mobilenetv2_050', MobileNetV2, _PAPER + ', width 0.5', {'width': 0.5},
          timm='mobilenetv2_050'),
  Network('mobilenetv2_075', MobileNetV2, _PAPER + ', width 0.75', {'width': 0.75},
          (Published('slides, Rethinking Mobile Inverted Bottleneck Convolution for EfficientNet',
                     '2.63', top1='69.19', top5='88.74',
                     why='the slide cuts 2,636,424 off instead of rounding it'),)),
  Network('mobilenetv2_140', MobileNetV2, _PAPER + ', width 1.4', {'width': 1.4},
          timm='mobilenetv2_140'),
  Network('mobilenetv2_110d', MobileNetV2, 'timm: width 1.1, depth 1.2',
          {'width': 1.1, 'depth': 1.2, 'scale_ends': False}, timm='mobilenetv2_110d'),
  Network('mobilenetv2_120d', MobileNetV2, 'timm: width 1.2, depth 1.4',
          {'width': 1.2, 'depth': 1.4, 'scale_ends': False}, timm='mobilenetv2_120d'),
  Network('se_mobilenetv2', MobileNetV2, _TABLE_2,
          {'attention': dataclasses.replace(SLOT, kind='se')},
          _printed('3.40', '320.1', '72.42', '90.67',
                   'the FLOPs are 0.03 % above the count: the version of thop')),
  Network('eca_mobilenetv2', MobileNetV2, _TABLE_2 + '; k by Eq. 9', {'attention': _ECA}),
  Network('eca_mobilenetv2_k13', MobileNetV2, "the ECA authors' weights: k=1 below 96 channels, 3",
          {'attention': dataclasses.replace(_ECA, k_policy='released')},
          _printed('3.34', '319.9', '72.56', '90.81')),
  Network('tiny_mobilenetv2', MobileNetV2, 'ours: three stages of a quarter width, for tests',
          {'stages': TABLE[:3], 'width': 0.25, 'head_width': 32, 'attention': _ECA}),
)

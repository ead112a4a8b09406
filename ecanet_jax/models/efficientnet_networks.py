"""The registered EfficientNets, with the figures of papers, slides and code."""

import dataclasses
from collections.abc import Iterator

from ecanet_jax.models.efficientnet import SLOT, TINY, EfficientNet
from ecanet_jax.models.record import Network, Published

# Width, depth, pixels, dropout; EfficientNet paper and tensorflow/tpu, efficientnet_builder.py.
SCALE = {
  'b0': (1.0, 1.0, 224, 0.2),
  'b1': (1.0, 1.1, 240, 0.2),
  'b2': (1.1, 1.2, 260, 0.3),
  'b3': (1.2, 1.4, 300, 0.3),
  'b4': (1.4, 1.8, 380, 0.4),
  'b5': (1.6, 2.2, 456, 0.4),
  'b6': (1.8, 2.6, 528, 0.5),
  'b7': (2.0, 3.1, 600, 0.5),
}

# The same of tensorflow/tpu, efficientnet/lite.
LITE_SCALE = {
  'lite0': (1.0, 1.0, 224, 0.2),
  'lite1': (1.0, 1.1, 240, 0.2),
  'lite2': (1.1, 1.2, 260, 0.3),
  'lite3': (1.2, 1.4, 280, 0.3),
  'lite4': (1.4, 1.8, 300, 0.3),
}

_PAPER = 'Tan and Le, EfficientNet, ICML 2019, Table 1 and 2'
_ECA = 'B0 with ECA in place of SE: hyugen blog; Wang et al., ECA-Net, CVPR 2020, Eq. 6 and 9'
_LITE = 'tensorflow/tpu, efficientnet/lite: without SE, with ReLU6'
_TABLE = 'EfficientNet, ICML 2019, Table 2'
_REPOSITION = 'slides, Practical Analysis on Architecture of EfficientNet'
_COMPACT = 'slides, A Compact version of EfficientNet'
_OWN_FLOPS = "the table's FLOPs are 2-5 % off the multiply-adds of its own architecture"

# As printed: parameters, FLOPs, top-1, top-5, and why a figure cannot be met.
_PRINTED = {
  'b0': ('5.3', '0.39', '76.3', '93.2', ''),
  'b1': ('7.8', '0.70', '78.8', '94.4', _OWN_FLOPS),
  'b2': ('9.2', '1.0', '79.8', '94.9', '9,109,994 does not round to 9.2: a misprint'),
  'b3': ('12', '1.8', '81.1', '95.5', ''),
  'b4': ('19', '4.2', '82.6', '96.3', _OWN_FLOPS),
  'b5': ('30', '9.9', '83.3', '96.7', _OWN_FLOPS),
  'b6': ('43', '19', '84.0', '96.9', ''),
  'b7': ('66', '37', '84.4', '97.1', _OWN_FLOPS),
}

_B0_ELSEWHERE = (
  Published('hyugen blog', '5,288,548', parameter_unit=1),
  Published(_REPOSITION, '5.29', top1='77.2', top5='93.4'),
  Published(
    _COMPACT, '5.61', multiply_adds='391.71', multiply_add_unit=10**6,
    convention='tf_profiler_aux', top1='75.14', top5='92.19',
    why='the rows with a depthwise convolution in stage 2 are 0.037 % above the rule that the '
    'others follow',
  ),
)

_SE = dataclasses.replace(SLOT, kind='se')


def _scaled(preset: str) -> Iterator[Network]:
  """B0 to B7 in PyTorch's or TensorFlow's padding and eps."""
  prefix, arguments = ('', {}) if preset == 'torch' else ('tf_', {'preset': 'tf'})
  for name, (width, depth, pixels, dropout) in SCALE.items():
    parameters, flops, top1, top5, why = _PRINTED[name]
    published = Published(_TABLE, parameters, multiply_adds=flops, top1=top1, top5=top5, why=why)
    elsewhere = _B0_ELSEWHERE if name == 'b0' else ()
    full = f'{prefix}efficientnet_{name}'
    yield Network(
      full, EfficientNet, f'{_PAPER}; {preset} padding and eps',
      {'attention': _SE, 'width': width, 'depth': depth, 'dropout': dropout, **arguments},
      (published, *elsewhere) if preset == 'torch' else (), pixels, timm=full,
    )


def _torchvision() -> Iterator[Network]:
  """torchvision's B5 to B7: TensorFlow's weights and BatchNorm with PyTorch's padding."""
  for name in ('b5', 'b6', 'b7'):
    width, depth, pixels, dropout = SCALE[name]
    yield Network(
      f'tv_efficientnet_{name}', EfficientNet, f'{_PAPER}; torchvision: torch padding, tf eps',
      {'attention': _SE, 'width': width, 'depth': depth, 'dropout': dropout, 'bn_eps': 1e-3,
       'bn_decay': 0.99},
      (), pixels,
    )


def _lite(preset: str) -> Iterator[Network]:
  """lite0 to lite4 in both paddings; lite0 is the slides' lite."""
  prefix, arguments = ('', {}) if preset == 'torch' else ('tf_', {'preset': 'tf'})
  slides = Published(
    _COMPACT, '4.97', multiply_adds='385.69', multiply_add_unit=10**6,
    convention='tf_profiler_aux', top1='73.25', top5='91.28', why=_B0_ELSEWHERE[-1].why,
  )
  for name, (width, depth, pixels, dropout) in LITE_SCALE.items():
    full = f'{prefix}efficientnet_{name}'
    yield Network(
      full, EfficientNet, f'{_LITE}; {preset} padding and eps',
      {'activation': 'relu6', 'scale_ends': False, 'width': width, 'depth': depth,
       'dropout': dropout, **arguments},
      (slides,) if full == 'efficientnet_lite0' else (), pixels, timm=full,
    )


def _repositioned() -> Iterator[Network]:
  """SE at the end of some blocks, or in the others only (slides 002, first work)."""
  end = dataclasses.replace(_SE, position='end')
  for name, attention, parameters, top1, top5 in (
    ('seend_noskip', dataclasses.replace(end, where='noskip', elsewhere='standard'),
     '5.16', '77.1', '93.3'),
    ('seend_hasskip', dataclasses.replace(end, where='skip', elsewhere='standard'),
     '4.91', '76.5', '93.2'),
    ('seend_all', end, '4.78', '76.2', '92.9'),
    ('nose_noskip', dataclasses.replace(_SE, where='skip'), '5.11', '77.1', '93.4'),
    ('nose_hasskip', dataclasses.replace(_SE, where='noskip'), '4.83', '76.6', '93.0'),
    ('nose_all', SLOT, '4.65', '75.8', '92.7'),
  ):
    yield Network(
      f'b0_{name}', EfficientNet, _REPOSITION, {'attention': attention},
      (Published(_REPOSITION, parameters, top1=top1, top5=top5),),
    )


_ECA_ARGUMENTS = {'attention': dataclasses.replace(SLOT, kind='eca')}
_ECA_TWIN = {'timm_arguments': {'se_layer': 'eca'}}

NETWORKS = (
  *_scaled('torch'),
  *_scaled('tf'),
  *_torchvision(),
  *_lite('torch'),
  *_lite('tf'),
  Network('eca_efficientnet_b0', EfficientNet, _ECA, _ECA_ARGUMENTS,
          (Published('hyugen blog', '4,652,084', parameter_unit=1),),
          timm='efficientnet_b0', **_ECA_TWIN),
  Network('tf_eca_efficientnet_b0', EfficientNet, _ECA + '; tf padding and eps',
          {**_ECA_ARGUMENTS, 'preset': 'tf'}, timm='tf_efficientnet_b0', **_ECA_TWIN),
  *_repositioned(),
  Network('tiny_efficientnet', EfficientNet, 'ours: one small block of each kind, for tests',
          {'stages': TINY, 'stem_width': 8, 'head_width': 32, **_ECA_ARGUMENTS}),
)

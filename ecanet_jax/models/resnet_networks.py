"""The registered ResNets, with the figures of papers, slides and code."""

import dataclasses
from collections.abc import Iterator
from decimal import Decimal

from ecanet_jax.models.record import GIBI, GIGA, MEBI, Network, Published
from ecanet_jax.models.resnet import RELEASED_K, SLOT, ResNet

# Blocks per stage and the kind of block: ResNet paper, Table 1.
DEPTHS = {
  '18': {'depths': (2, 2, 2, 2), 'bottleneck': False},
  '34': {'depths': (3, 4, 6, 3), 'bottleneck': False},
  '50': {'depths': (3, 4, 6, 3)},
  '101': {'depths': (3, 4, 23, 3)},
  '152': {'depths': (3, 8, 36, 3)},
}
X32 = {'groups': 32, 'base_width': 4}  # ResNeXt paper, Table 1: 32 x 4d

_NONE = {}
_SE = {'attention': dataclasses.replace(SLOT, kind='se')}
_ECA = {'attention': dataclasses.replace(SLOT, kind='eca')}
_K5 = {'attention': dataclasses.replace(SLOT, kind='eca', k=(5,))}
_RELEASED = {'attention': dataclasses.replace(SLOT, kind='eca', k_policy='released')}
# timm: squeezed channels in multiples of 8, both layers with biases.
_TIMM_SE = {'attention': dataclasses.replace(SLOT, kind='se', bias=True, divisor=8)}
_TIMM_ECA = {'timm_arguments': {'block_args': {'attn_layer': 'eca'}}}
# Hu's Caffe networks as Cadene ported them, with biases.
_CAFFE = {
  'attention': dataclasses.replace(SLOT, kind='se', bias=True), 'stem_pool': 'ceil',
}

_RESNET = 'He et al., Deep Residual Learning, CVPR 2016, Table 1'
_RESNEXT = 'Xie et al., ResNeXt, CVPR 2017, Table 1'
_SENET = 'Hu et al., Squeeze-and-Excitation Networks, CVPR 2018'
_TABLE_1 = 'ECA-Net, CVPR 2020, Table 1'
_TABLE_2 = 'ECA-Net, CVPR 2020, Table 2'
_README = 'BangguWu/ECANet, README'
_SLIDES = 'slides, Squeeze-and-Excitation Networks and Efficient Networks, results'
_SCALING = 'EfficientNet, ICML 2019, Table 2'
_EQ9 = '; k by Eq. 9'
_3X3 = '; stride in the 3x3'
_1X1 = '; stride in the 1x1'

_THOP = 'the third digit of the FLOPs is an effect of the version of thop'
_COPIED = "copied from that method's own paper"

# Parameters in 2^20, FLOPs in 2^30, top-1, top-5, and why a figure cannot be met.
_PRINTED_2 = {
  'resnet50': ('24.37', '3.86', '75.20', '92.52'),
  'se_resnet50': ('26.77', '3.87', '76.71', '93.38'),
  'cbam_resnet50': ('26.77', '3.87', '77.34', '93.69'),
  'eca_resnet50_k5': ('24.37', '3.86', '77.48', '93.68'),
  'resnet101': ('42.49', '7.34', '76.83', '93.48'),
  'se_resnet101': ('47.01', '7.35', '77.62', '93.93', f'{_THOP}: 7.356'),
  'cbam_resnet101': ('47.01', '7.35', '78.49', '94.31', f'{_THOP}: 7.358'),
  'eca_resnet101_k5': ('42.49', '7.35', '78.65', '94.34'),
  'resnet152': ('57.40', '10.82', '77.58', '93.66'),
  'se_resnet152': ('63.68', '10.85', '78.43', '94.27'),
  'eca_resnet152_k5': ('57.40', '10.83', '78.92', '94.55', f'{_THOP}: 10.836'),
}

# The rows copied from other papers: parameters in 10^6, FLOPs in 10^9.
_PRINTED_2_COPIED = {
  'a2_resnet50': (
    '33.00', '6.50', '77.00', '93.50',
    f'{_COPIED}, which leaves the widths open: with C / 2, 32,915,496 and 6.43',
  ),
  'gsop_resnet50': (
    '28.05', '6.18', '77.68', '93.98', f'the FLOPs, {_COPIED}, are 0.4 % below the count: 6.20',
  ),
  'aa_resnet50': (
    '25.80', '4.15', '77.70', '93.80',
    f'{_COPIED}: its 25.8 with a digit more (25,813,872), and half of its 8.3',
  ),
  'aa_resnet101': (
    '45.40', '8.05', '78.70', '94.40',
    f'{_COPIED}: its 45.4 with a digit more (45,391,208), and half of its 16.1',
  ),
}

# Top-1 and top-5 of ResNet-50 with the modules of Table 1.
_PRINTED_1 = {
  'resnet50': ('75.30', '92.20'),
  'se_resnet50': ('76.71', '93.38'),
  'resnet50_se_var1': ('76.00', '92.90'),
  'resnet50_se_var2': ('77.07', '93.31'),
  'resnet50_se_var3': ('77.42', '93.64'),
  'resnet50_se_gc1': ('76.95', '93.47'),
  'resnet50_se_gc2': ('76.98', '93.31'),
  'resnet50_se_gc3': ('76.96', '93.38'),
  'resnet50_eca_ns_k3': ('77.35', '93.61'),
  'resnet50_eca_k3': ('77.43', '93.65'),
}

# The released weights: parameters in 2^20, top-1, top-5.
_PRINTED_README = {
  'eca_resnet18_k3577': ('11.15', '70.92', '89.93'),
  'eca_resnet34_k3357': ('20.79', '74.21', '91.83'),
  'eca_resnet50_k3557': ('24.37', '77.42', '93.62'),
  'eca_resnet101_k3357': ('42.49', '78.65', '94.34'),
  'eca_resnet152_k3357': ('57.41', '78.92', '94.55', '57.4046 does not round to 57.41'),
}

# The slides' re-implementations: top-1 and top-5 errors, FLOPs in 10^9.
_PRINTED_SLIDES = {
  'resnet50_v1': ('24.80', '7.48', '3.86'),
  'se_resnet50_v1': ('23.29', '6.62', '3.87'),
  'resnet101_v1': ('23.17', '6.52', '7.58'),
  'se_resnet101_v1': ('22.38', '6.07', '7.60', 'the FLOPs are 0.1 % above the count: 7.593'),
  'resnet152_v1': ('22.42', '6.34', '11.30'),
  'se_resnet152_v1': ('21.57', '5.73', '11.32'),
  'resnext50_32x4d': ('22.11', '5.90', '4.24'),
  'se_resnext50_32x4d': ('21.10', '5.49', '4.25', 'the FLOPs are 0.14 % above the count: 4.244'),
  'resnext101_32x4d': ('21.18', '5.57', '7.99', 'the FLOPs are 0.14 % above the count: 7.979'),
  'se_resnext101_32x4d': ('20.70', '5.01', '8.00', 'the FLOPs are 0.09 % above the count: 7.993'),
}

# Errors in the same table from the networks' own papers.
_PRINTED_ORIGINAL = {
  'resnet50_v1': ('24.7', '7.8'),
  'resnet101_v1': ('23.6', '7.1'),
  'resnet152_v1': ('23.0', '6.7'),
  'resnext50_32x4d': ('22.2', ''),
  'resnext101_32x4d': ('21.2', '5.6'),
}

# Rows of other networks in EfficientNet's table: parameters in 10^6, FLOPs in 10^9, top-1, top-5.
_PRINTED_SCALING = {
  'resnet50': ('26', '4.1', '76.0', '93.0'),
  'resnet152': (
    '60', '11', '77.8', '93.8', 'the FLOPs are 11.5; 11 is with the stride in the 1x1',
  ),
  'senet154': (
    '146', '42', '82.7', '96.2', 'it has 115,088,984 parameters; 42 is at 320 pixels',
  ),
}


def _accuracy(error: str) -> str:
  return error and str(100 - Decimal(error))


def _published(name: str) -> Iterator[Published]:
  """All figures of the tables above for a network."""
  if name in _PRINTED_2:
    parameters, flops, top1, top5, *why = _PRINTED_2[name]
    yield Published(
      _TABLE_2, parameters, MEBI, flops, GIBI, 'thop_shared_relu', top1, top5, *why
    )
  if name in _PRINTED_2_COPIED:
    parameters, flops, top1, top5, why = _PRINTED_2_COPIED[name]
    yield Published(
      _TABLE_2, parameters, multiply_adds=flops, top1=top1, top5=top5, why=why
    )
  if name in _PRINTED_1:
    top1, top5 = _PRINTED_1[name]
    yield Published(_TABLE_1, top1=top1, top5=top5)
  if name in _PRINTED_README:
    parameters, top1, top5, *why = _PRINTED_README[name]
    yield Published(_README, parameters, MEBI, top1=top1, top5=top5, why=''.join(why))
  if name == 'eca_resnet50_k3557':
    yield Published(
      'ECA-Net, CVPR 2020, Introduction: added to ResNet-50', '80', 1, '0.00047', GIGA, 'attention',
      why="the FLOPs: the 1-D convolutions cost 86,272 multiply-adds, 8.6e-5 x 10^9; no way of "
      'counting gives 4.7e-4',
    )
  if name in _PRINTED_SLIDES:
    error1, error5, flops, *why = _PRINTED_SLIDES[name]
    yield Published(
      f'{_SLIDES}, re-implementation' if name in _PRINTED_ORIGINAL else f'{_SLIDES}, SENet',
      multiply_adds=flops, convention='adds_and_scale', top1=_accuracy(error1),
      top5=_accuracy(error5), why=''.join(why),
    )
  if name in _PRINTED_ORIGINAL:
    error1, error5 = _PRINTED_ORIGINAL[name]
    yield Published(f'{_SLIDES}, original', top1=_accuracy(error1), top5=_accuracy(error5))
  if name in _PRINTED_SCALING:
    parameters, flops, top1, top5, *why = _PRINTED_SCALING[name]
    yield Published(
      _SCALING, parameters, multiply_adds=flops, top1=top1, top5=top5, why=''.join(why)
    )


def _network(name: str, source: str, *parts, timm: str = '', pixels: int = 224, **more) -> Network:
  """A record whose arguments are the union of the parts."""
  arguments = {key: value for part in parts for key, value in part.items()}
  return Network(
    name, ResNet, source, arguments, tuple(_published(name)), pixels, timm=timm, **more
  )


def _plain() -> Iterator[Network]:
  """ResNet and ResNeXt without attention, with the papers' SE, with timm's, and with ECA."""
  for n, depth in DEPTHS.items():
    yield _network(f'resnet{n}', _RESNET + _3X3, depth, timm=f'resnet{n}')
    yield _network(
      f'seresnet{n}', 'timm: SE-ResNet with biases', depth, _TIMM_SE, timm=f'seresnet{n}'
    )
    yield _network(
      f'eca_resnet{n}', 'ECA-Net' + _EQ9, depth, _ECA, timm=f'resnet{n}', **_TIMM_ECA
    )
    released = RELEASED_K[depth.get('bottleneck', True), depth['depths']]
    k = ''.join(map(str, released))
    yield _network(f'eca_resnet{n}_k{k}', "the ECA authors' weights", depth, _RELEASED)
  for n in ('50', '101', '152'):
    depth = DEPTHS[n]
    yield _network(f'se_resnet{n}', _TABLE_2 + ', without biases', depth, _SE)
    yield _network(f'eca_resnet{n}_k5', f'{_TABLE_2}{_EQ9}, where 6 becomes 5', depth, _K5)
    v1 = {'stride_1x1': True}
    yield _network(f'resnet{n}_v1', _RESNET + _1X1, depth, v1)
    yield _network(f'se_resnet{n}_v1', _SENET + _1X1 + ', without biases', depth, v1, _SE)
    yield _network(
      f'legacy_seresnet{n}', 'hujie-frank/SENet, SE-ResNet' + _1X1, depth, v1, _CAFFE,
      timm=f'legacy_seresnet{n}', timm_dialect='cadene',
    )
  for n in ('50', '101'):
    depth, name = DEPTHS[n], f'resnext{n}_32x4d'
    yield _network(name, _RESNEXT, depth, X32, timm=name)
    yield _network(f'se_{name}', _SENET + ', without biases', depth, X32, _SE)
    yield _network(f'se{name}', 'timm: SE-ResNeXt with biases', depth, X32, _TIMM_SE,
                   timm=f'se{name}')
    yield _network(f'eca_{name}', 'ResNeXt with ECA' + _EQ9, depth, X32, _ECA, timm=name,
                   **_TIMM_ECA)
    yield _network(f'legacy_se{name}', 'hujie-frank/SENet, SE-ResNeXt', depth, X32, _CAFFE,
                   timm=f'legacy_se{name}', timm_dialect='cadene')


# timm: the ResNet-D family with ECA. Depths, stem, pixels of the published evaluation.
_TIMM_D = {
  'resnet50d': (_NONE, (3, 4, 6, 3), 'deep', 288),
  'ecaresnet26t': (_ECA, (2, 2, 2, 2), 'deep_tiered', 320),
  'ecaresnetlight': (_ECA, (1, 1, 11, 3), '7x7', 288),
  'ecaresnet50d': (_ECA, (3, 4, 6, 3), 'deep', 288),
  'ecaresnet50t': (_ECA, (3, 4, 6, 3), 'deep_tiered', 320),
  'ecaresnet101d': (_ECA, (3, 4, 23, 3), 'deep', 288),
  'ecaresnet269d': (_ECA, (3, 30, 48, 8), 'deep', 352),
}

# SENet paper, section 'Implementation': 64 groups, half as wide a first 1x1, 3x3 projections.
_SENET_154 = {
  **DEPTHS['152'], 'groups': 64, 'base_width': 4, 'stem': 'deep', 'reduce_first': 2,
  'down_kernel': 3, 'dropout': 0.2,
}


def _timm() -> Iterator[Network]:
  for name, (attention, depths, stem, pixels) in _TIMM_D.items():
    yield _network(
      name, 'timm, resnet.py; He et al., Bag of Tricks, CVPR 2019, ResNet-D', attention,
      {'depths': depths, 'stem': stem, 'stem_width': 64 if stem == '7x7' else 32,
       'avg_down': True},
      timm=name, pixels=pixels,
    )
  yield _network('senet154', _SENET + ', SENet-154; as in timm', _SENET_154, _TIMM_SE,
                 timm='senet154', pixels=320)
  yield _network('legacy_senet154', 'hujie-frank/SENet, SENet-154', _SENET_154, _CAFFE,
                 timm='legacy_senet154', timm_dialect='cadene', pixels=320)


# Name, attention, further arguments; ResNet-50, or ResNet-101 in the last rows.
_COMPARED = (
  ('resnet50_se_var1', {'kind': 'se_var1'}),
  ('resnet50_se_var2', {'kind': 'se_var2'}),
  ('resnet50_se_var3', {'kind': 'se_var3'}),
  ('resnet50_se_gc1', {'kind': 'se_gc1'}),
  ('resnet50_se_gc2', {'kind': 'se_gc2'}),
  ('resnet50_se_gc3', {'kind': 'se_gc3'}),
  ('resnet50_eca_ns_k3', {'kind': 'eca_ns', 'k': (3,)}),
  ('resnet50_eca_k3', {'kind': 'eca', 'k': (3,)}),
  ('se_resnet50_pre', {'kind': 'se', 'position': 'pre'}),
  ('se_resnet50_post', {'kind': 'se', 'position': 'post'}),
  ('se_resnet50_identity', {'kind': 'se', 'position': 'identity'}),
  ('cbam_resnet50', {'kind': 'cbam'}),
  ('cbam_resnet101', {'kind': 'cbam'}),
  ('a2_resnet50', {'kind': 'a2', 'where': 'alternate', 'stages': (2, 3)}),
  ('gsop_resnet50', {'kind': 'gsop', 'where': 'last', 'stages': (2, 3, 4)}),
  ('aa_resnet50', {'kind': 'aa', 'stages': (2, 3, 4)}),
  ('aa_resnet101', {'kind': 'aa', 'stages': (2, 3, 4)}),
)
_ORIGINAL = {  # the older comparators' backbones stride in the 1x1
  'a2_resnet50': {'stride_1x1': True},
  'gsop_resnet50': {'stride_1x1': True, 'last_stride': 1},
}


def _compared() -> Iterator[Network]:
  """The kinds and positions that the papers compare."""
  for name, attention in _COMPARED:
    source = _TABLE_1 if name in _PRINTED_1 else _TABLE_2
    if 'position' in attention:
      source = 'slides, Squeeze-and-Excitation Networks and Efficient Networks, Figure 3'
    yield _network(
      name, source, DEPTHS['101' if '101' in name else '50'],
      {'attention': dataclasses.replace(SLOT, **attention)}, _ORIGINAL.get(name, _NONE),
    )


NETWORKS = (
  *_plain(),
  *_timm(),
  *_compared(),
  _network('tiny_resnet', 'ours: a small ResNet, for tests and for trying a set-up',
           {'depths': (1, 1), 'planes': 8, 'stem_width': 8}, _ECA),
)

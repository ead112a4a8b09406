"""Detectors' names in torchvision and mmdetection.

The backbone has the names of a classification network: torchvision's for a ResNet, with the ECA
authors' ECA and moskomule's SE, and timm's for other networks.
"""

from collections.abc import Callable

import flax.linen as nn

from ecanet_jax.detection.presets import RETINANET_PRESETS
from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.models.resnet import ResNet
from ecanet_jax.weights.dialects.dialect import Dialect, Family

CONVS = range(1, 9)  # of a mask head or a tower; unused names stay unused

# Kinds of layers where the shape of the array does not decide.
_HEADS = {
  'box_head/fc_1': 'rois', 'box_head/fc_2': 'dense', 'box_head/classes': 'dense',
  'box_head/boxes': 'dense', 'mask_head/up': 'transposed',
}
# The background is the last class, and has neither boxes nor masks.
_BACKGROUND_LAST = {
  **_HEADS, 'box_head/classes': 'classes_last', 'box_head/boxes': 'boxes_last',
  'mask_head/masks': 'masks_last',
}


def backbone_dialect(backbone: ConvNet) -> str:
  """The dialect of a classification network within a detector."""
  if not isinstance(backbone, ResNet):
    return 'timm'
  attention = backbone.attention
  if attention.kind == 'se' and attention.bias:
    return 'timm'
  return {'eca': 'ecanet', 'se': 'moskomule'}.get(attention.kind, 'torchvision')


def _levels(first: int, lateral: str, output: str) -> dict[str, str]:
  """The pyramid's layers; `first` is the finest level. Level 5 is the last of the backbone."""
  laterals = {f'fpn/lateral_{level}': lateral.format(level - first) for level in range(first, 6)}
  return laterals | {f'fpn/output_{level}': output.format(level - first)
                     for level in range(first, 6)}


def _coarse(first: str, second: str) -> dict[str, str]:
  return {'fpn/output_6': first, 'fpn/output_7': second}


def _rules(preset: str) -> Callable[[nn.Module], str]:
  """A `misfit`: the code has the rules of a preset."""

  def misfit(model: nn.Module) -> str:
    if model.preset.name == preset:
      return ''
    return (f'its rules for boxes are those of preset {preset!r}, this detector has '
            f'{model.preset.name!r}; choose preset={preset!r}.')

  return misfit


_PYRAMID = 'backbone.fpn.*_blocks.{}'


# pytorch/vision, torchvision/models/detection. Files of version 1 of its modules have other names,
# which it renames on loading. FrozenBatchNorm2d has no counter.
def _torchvision(first: bool) -> Dialect:
  pyramid = _PYRAMID + ('' if first else '.0')
  conv = 'rpn.head.conv' if first else 'rpn.head.conv.0.0'
  mask = 'mask_fcn{}' if first else '{}.0'
  return Dialect(
    stem={}, block='', variants={}, backbone='backbone.body.', counters=False, kinds=_HEADS,
    misfit=_rules('torchvision'),
    head={
      **_levels(2, pyramid.replace('*', 'inner'), pyramid.replace('*', 'layer')),
      'rpn/conv': conv,
      'rpn/objectness': 'rpn.head.cls_logits',
      'rpn/boxes': 'rpn.head.bbox_pred',
      'box_head/fc_1': 'roi_heads.box_head.fc6',
      'box_head/fc_2': 'roi_heads.box_head.fc7',
      'box_head/classes': 'roi_heads.box_predictor.cls_score',
      'box_head/boxes': 'roi_heads.box_predictor.bbox_pred',
      **{f'mask_head/conv_{n}': 'roi_heads.mask_head.' + mask.format(n if first else n - 1)
         for n in CONVS},
      'mask_head/up': 'roi_heads.mask_predictor.conv5_mask',
      'mask_head/masks': 'roi_heads.mask_predictor.mask_fcn_logits',
    },
  )


# open-mmlab/mmdetection v1.0rc0 and 2.x; from 2.0 on the RoI heads are in `roi_head`.
def _mmdetection(version: int) -> Dialect:
  roi = '' if version == 1 else 'roi_head.'
  return Dialect(
    stem={}, block='', variants={}, backbone='backbone.',
    kinds=_HEADS if version == 1 else _BACKGROUND_LAST, import_only=version == 2,
    misfit=_rules('mmdet1') if version == 1 else lambda model: '',
    head={
      **_levels(2, 'neck.lateral_convs.{}.conv', 'neck.fpn_convs.{}.conv'),
      'rpn/conv': 'rpn_head.rpn_conv',
      'rpn/objectness': 'rpn_head.rpn_cls',
      'rpn/boxes': 'rpn_head.rpn_reg',
      'box_head/fc_1': f'{roi}bbox_head.shared_fcs.0',
      'box_head/fc_2': f'{roi}bbox_head.shared_fcs.1',
      'box_head/classes': f'{roi}bbox_head.fc_cls',
      'box_head/boxes': f'{roi}bbox_head.fc_reg',
      **{f'mask_head/conv_{n}': f'{roi}mask_head.convs.{n - 1}.conv' for n in CONVS},
      'mask_head/up': f'{roi}mask_head.upsample',
      'mask_head/masks': f'{roi}mask_head.conv_logits',
    },
  )


FASTER_RCNN = Family(
  variant=lambda block: '',
  dialects={
    'torchvision': _torchvision(False),
    'torchvision_v1': _torchvision(True),
    'mmdet1': _mmdetection(1),
    'mmdet2': _mmdetection(2),
  },
)


def _retinanet_rules(preset: str) -> Callable[[nn.Module], str]:
  """A `misfit`: the code has the rules of a preset, and P7 reads P6 as there."""

  def misfit(model: nn.Module) -> str:
    relu = RETINANET_PRESETS[preset].relu_before_p7
    if (fault := _rules(preset)(model)) or model.preset.relu_before_p7 == relu:
      return fault
    how = 'through a ReLU' if relu else 'without a ReLU'
    return f'its P7 reads P6 {how}; choose relu_before_p7={relu}.'

  return misfit


def _torchvision_retinanet(first: bool) -> Dialect:
  pyramid = _PYRAMID + ('' if first else '.0')
  tower = lambda head, n: f'head.{head}_head.conv.' + (f'{2 * n - 2}' if first else f'{n - 1}.0')
  return Dialect(
    stem={}, block='', variants={}, backbone='backbone.body.', counters=False, kinds={},
    misfit=_retinanet_rules('torchvision'),
    head={
      **_levels(3, pyramid.replace('*', 'inner'), pyramid.replace('*', 'layer')),
      **_coarse('backbone.fpn.extra_blocks.p6', 'backbone.fpn.extra_blocks.p7'),
      **{f'class_head/conv_{n}': tower('classification', n) for n in CONVS},
      'class_head/outputs': 'head.classification_head.cls_logits',
      **{f'box_head/conv_{n}': tower('regression', n) for n in CONVS},
      'box_head/outputs': 'head.regression_head.bbox_reg',
    },
  )


RETINANET = Family(
  variant=lambda block: '',
  dialects={
    'torchvision': _torchvision_retinanet(False),
    'torchvision_v1': _torchvision_retinanet(True),
    # mmdetection's RetinaNet has no background output, and the same names in 1.x and 2.x.
    'mmdet1': Dialect(
      stem={}, block='', variants={}, backbone='backbone.', kinds={},
      misfit=_retinanet_rules('mmdet1'),
      head={
        **_levels(3, 'neck.lateral_convs.{}.conv', 'neck.fpn_convs.{}.conv'),
        **_coarse('neck.fpn_convs.3.conv', 'neck.fpn_convs.4.conv'),
        **{f'class_head/conv_{n}': f'bbox_head.cls_convs.{n - 1}.conv' for n in CONVS},
        'class_head/outputs': 'bbox_head.retina_cls',
        **{f'box_head/conv_{n}': f'bbox_head.reg_convs.{n - 1}.conv' for n in CONVS},
        'box_head/outputs': 'bbox_head.retina_reg',
      },
    ),
  },
)

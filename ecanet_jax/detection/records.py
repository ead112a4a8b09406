"""The registered detectors: those of ECA-Net's tables and of its authors' README.

The networks and rules are mmdetection 1.0rc0's. The stem and stage 1 are frozen, BatchNorm keeps
its statistics, and its scale and shift are trained in stages 2 to 4. ECA's k are those in the names
of the released weights.
"""

from ecanet_jax.detection.networks.faster_rcnn import FasterRCNN, MaskRCNN
from ecanet_jax.detection.networks.retinanet import RetinaNet
from ecanet_jax.detection.presets import PRESETS, RETINANET_PRESETS
from ecanet_jax.detection.record import DetectorRecord, PublishedDetector

_TABLE_4 = 'ECA-Net, arXiv 1910.03151v1, Table 4'
_TABLES_4_5 = 'ECA-Net, arXiv 1910.03151v1, Tables 4 and 5'
_README = 'BangguWu/ECANet, README'

# Network, its file in mmdetection's configs, presets.
_NETWORKS = {
  'faster_rcnn': (FasterRCNN, 'faster_rcnn_{}_fpn_1x.py', PRESETS),
  'mask_rcnn': (MaskRCNN, 'mask_rcnn_{}_fpn_1x.py', PRESETS),
  'retinanet': (RetinaNet, 'retinanet_{}_fpn_1x.py', RETINANET_PRESETS),
}

# ECA's k per stage.
_K = {
  'faster_rcnn_r50': (5, 5, 5, 5),
  'faster_rcnn_r101': (3, 3, 5, 7),
  'mask_rcnn_r50': (3, 3, 7, 7),
  'mask_rcnn_r101': (3, 3, 5, 7),
  'retinanet_r50': (3, 3, 7, 7),
  'retinanet_r101': (3, 3, 5, 7),
}

# Trained parameters in 10^6, FLOPs in 10^9, AP of boxes, AP of masks: plain, SE, ECA.
_PRINTED = {
  'faster_rcnn_r50_fpn': (
    '41.53', '207.07', ('36.4', '58.2', '39.2', '21.8', '40.0', '46.2')),
  'se_faster_rcnn_r50_fpn': (
    '44.02', '207.18', ('37.7', '60.1', '40.9', '22.9', '41.9', '48.2')),
  'eca_faster_rcnn_r50_fpn': (
    '41.53', '207.18', ('38.0', '60.6', '40.9', '23.4', '42.1', '48.0')),
  'faster_rcnn_r101_fpn': (
    '60.52', '283.14', ('38.7', '60.6', '41.9', '22.7', '43.2', '50.4')),
  'se_faster_rcnn_r101_fpn': (
    '65.24', '283.33', ('39.6', '62.0', '43.1', '23.7', '44.0', '51.4')),
  'eca_faster_rcnn_r101_fpn': (
    '60.52', '283.32', ('40.3', '62.9', '44.0', '24.5', '44.7', '51.3')),
  'mask_rcnn_r50_fpn': (
    '44.18', '275.58', ('37.2', '58.9', '40.3', '22.2', '40.7', '48.0'),
    ('34.1', '55.5', '36.2', '16.1', '36.7', '50.0')),
  'se_mask_rcnn_r50_fpn': (
    '46.67', '275.69', ('38.7', '60.9', '42.1', '23.4', '42.7', '50.0'),
    ('35.4', '57.4', '37.8', '17.1', '38.6', '51.8')),
  'eca_mask_rcnn_r50_fpn': (
    '44.18', '275.69', ('39.0', '61.3', '42.1', '24.2', '42.8', '49.9'),
    ('35.6', '58.1', '37.7', '17.6', '39.0', '51.8')),
  'mask_rcnn_r101_fpn': (
    '63.17', '351.65', ('39.4', '60.9', '43.3', '23.0', '43.7', '51.4'),
    ('35.9', '57.7', '38.4', '16.8', '39.1', '53.6')),
  'se_mask_rcnn_r101_fpn': (
    '67.89', '351.84', ('40.7', '62.5', '44.3', '23.9', '45.2', '52.8'),
    ('36.8', '59.3', '39.2', '17.2', '40.3', '53.6')),
  'eca_mask_rcnn_r101_fpn': (
    '63.17', '351.83', ('41.3', '63.1', '44.8', '25.1', '45.8', '52.9'),
    ('37.4', '59.9', '39.8', '18.1', '41.1', '54.1')),
  'eca_retinanet_r50_fpn': ('37.74', '239.43'),
  'eca_retinanet_r101_fpn': ('56.74', '315.57'),
}


def _record(kind: str, depth: str, attention: str) -> DetectorRecord:
  """The record of a network, a depth such as 'r50', and 'none', 'se' or 'eca'."""
  network, file, presets = _NETWORKS[kind]
  name = f'{kind}_{depth}_fpn'
  fields = {'none': {}, 'se': {'attention': {'kind': 'se'}},
            'eca': {'attention': {'kind': 'eca', 'k': _K[f'{kind}_{depth}']}}}[attention]
  if attention != 'none':
    name = f'{attention}_{name}'
  published = None
  if name in _PRINTED:
    source = {'faster_rcnn': _TABLE_4, 'mask_rcnn': _TABLES_4_5, 'retinanet': _README}[kind]
    published = PublishedDetector(source, *_PRINTED[name])
  return DetectorRecord(
    name, network, f'mmdetection 1.0rc0, configs/{file.format(depth)}', f'resnet{depth[1:]}',
    fields, presets, published=published,
  )


RECORDS: dict[str, DetectorRecord] = {
  record.name: record for record in (
    _record(kind, depth, attention)
    for kind in _NETWORKS for depth in ('r50', 'r101') for attention in ('none', 'se', 'eca')
  )
}

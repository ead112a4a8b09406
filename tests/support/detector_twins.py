"""torchvision's detectors with a small backbone, beside ours, and what both compute."""

import numpy as np
import torch
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops.misc import FrozenBatchNorm2d

from ecanet_jax.detection.registry import create_detector
from tests.support.random_variables import random_variables
from tests.support.torchvision_detection import use_pure_operators

CLASSES, HIDDEN, EVERYTHING = 4, 32, 10**6
PROPOSALS, BEFORE_NMS = 40, 100


def our_mask_rcnn(preset):
  """Mask R-CNN with one block a stage."""
  return create_detector(
    'mask_rcnn_r50_fpn', num_classes=CLASSES, hidden=HIDDEN, preset=preset,
    backbone={'depths': (1, 1, 1, 1), 'frozen_stages': 0},
  )


def calm_variables(model):
  """Random variables whose scores are far from 0 and 1 and whose boxes stay near the anchors."""
  variables = random_variables(model)
  params = variables['params']
  for head, name, factor in (('rpn', 'objectness', 0.15), ('rpn', 'boxes', 0.03),
                             ('box_head', 'classes', 0.25), ('box_head', 'boxes', 0.25)):
    params[head][name] = {key: factor * value for key, value in params[head][name].items()}
  return variables


def their_mask_rcnn(samples=EVERYTHING):
  """The same in torchvision; the losses take every anchor and every proposal."""
  use_pure_operators()
  body = ResNet(Bottleneck, [1, 1, 1, 1], norm_layer=FrozenBatchNorm2d)
  layers = {f'layer{stage}': str(stage - 1) for stage in range(1, 5)}
  backbone = BackboneWithFPN(body, layers, [256, 512, 1024, 2048], 256)
  twin = MaskRCNN(
    backbone, CLASSES + 1, rpn_pre_nms_top_n_train=BEFORE_NMS, rpn_pre_nms_top_n_test=BEFORE_NMS,
    rpn_post_nms_top_n_train=PROPOSALS, rpn_post_nms_top_n_test=PROPOSALS,
    rpn_batch_size_per_image=samples, box_batch_size_per_image=samples,
  )
  twin.roi_heads.box_head = TwoMLPHead(256 * 49, HIDDEN)
  twin.roi_heads.box_predictor.cls_score = torch.nn.Linear(HIDDEN, CLASSES + 1)
  twin.roi_heads.box_predictor.bbox_pred = torch.nn.Linear(HIDDEN, 4 * (CLASSES + 1))
  return twin


def forward(twin, images, targets=None):
  """Levels, RPN outputs, detections and losses of a twin, without its transform of the images."""
  x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
  sizes = [tuple(images.shape[1:3])] * len(images)
  features = twin.backbone(x)
  logits, deltas = twin.rpn.head(list(features.values()))
  proposals, rpn_losses = twin.rpn(ImageList(x, sizes), features, targets)
  detections, losses = twin.roi_heads(features, proposals, sizes, targets)
  return features, (logits, deltas), detections, {**rpn_losses, **losses}


def rows(maps, values):
  """Maps `[B, A * values, H, W]` of all levels as `[B, anchors, values]`."""
  flat = [x.detach().numpy().transpose(0, 2, 3, 1).reshape(len(x), -1, values) for x in maps]
  return np.concatenate(flat, axis=1)

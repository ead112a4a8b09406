"""torchvision's detectors with a small backbone, beside ours, and what both compute."""

import numpy as np
import torch
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection import RetinaNet as TheirRetinaNet
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNetHead, _default_anchorgen
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.ops.misc import FrozenBatchNorm2d

from ecanet_jax.detection.registry import create_detector
from tests.support.random_variables import random_variables
from tests.support.torchvision_detection import use_pure_operators

CLASSES, HIDDEN, EVERYTHING = 4, 32, 10**6
PROPOSALS, BEFORE_NMS = 40, 100
BACKBONE = {'depths': (1, 1, 1, 1), 'frozen_stages': 0}
CALM = {  # factors of the last layers
  ('rpn', 'objectness'): 0.15, ('rpn', 'boxes'): 0.03, ('box_head', 'classes'): 0.25,
  ('box_head', 'boxes'): 0.25, ('class_head', 'outputs'): 0.25, ('box_head', 'outputs'): 0.25,
}


def our_mask_rcnn(preset):
  """Mask R-CNN with one block a stage."""
  return create_detector(
    'mask_rcnn_r50_fpn', num_classes=CLASSES, hidden=HIDDEN, preset=preset, backbone=BACKBONE)


def our_retinanet(preset):
  """RetinaNet with one block a stage."""
  return create_detector(
    'retinanet_r50_fpn', num_classes=CLASSES, preset=preset, backbone=BACKBONE)


def calm_variables(model):
  """Random variables whose scores are far from 0 and 1 and whose boxes stay near the anchors."""
  variables = random_variables(model)
  params = variables['params']
  for (head, name), factor in CALM.items():
    if name in params.get(head, ()):
      params[head][name] = {key: factor * value for key, value in params[head][name].items()}
  return variables


def their_mask_rcnn(samples=EVERYTHING):
  """The same in torchvision; the losses take every anchor and every proposal."""
  backbone = _their_backbone(first=1)
  twin = MaskRCNN(
    backbone, CLASSES + 1, rpn_pre_nms_top_n_train=BEFORE_NMS, rpn_pre_nms_top_n_test=BEFORE_NMS,
    rpn_post_nms_top_n_train=PROPOSALS, rpn_post_nms_top_n_test=PROPOSALS,
    rpn_batch_size_per_image=samples, box_batch_size_per_image=samples,
  )
  twin.roi_heads.box_head = TwoMLPHead(256 * 49, HIDDEN)
  twin.roi_heads.box_predictor.cls_score = torch.nn.Linear(HIDDEN, CLASSES + 1)
  twin.roi_heads.box_predictor.bbox_pred = torch.nn.Linear(HIDDEN, 4 * (CLASSES + 1))
  return twin


def their_retinanet():
  """The same in torchvision."""
  backbone = _their_backbone(first=2, extra_blocks=LastLevelP6P7(256, 256))
  anchors = _default_anchorgen()
  return TheirRetinaNet(
    backbone, CLASSES, anchor_generator=anchors, head=RetinaNetHead(256, 9, CLASSES))


def _their_backbone(first, **pyramid):
  """The network whose stages from `first` on are in the pyramid."""
  use_pure_operators()
  body = ResNet(Bottleneck, [1, 1, 1, 1], norm_layer=FrozenBatchNorm2d)
  layers = {f'layer{stage}': str(stage - first) for stage in range(first, 5)}
  channels = [128 * 2**stage for stage in range(first, 5)]
  return BackboneWithFPN(body, layers, channels, 256, **pyramid)


def forward(twin, images, targets=None):
  """Levels, RPN outputs, detections and losses of a Mask R-CNN, without its transform of images."""
  x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
  sizes = [tuple(images.shape[1:3])] * len(images)
  features = twin.backbone(x)
  logits, deltas = twin.rpn.head(list(features.values()))
  proposals, rpn_losses = twin.rpn(ImageList(x, sizes), features, targets)
  detections, losses = twin.roi_heads(features, proposals, sizes, targets)
  return features, (logits, deltas), detections, {**rpn_losses, **losses}


def forward_retinanet(twin, images, targets=None):
  """Detections or losses of a RetinaNet, without its transform of the images."""
  x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
  size = tuple(images.shape[1:3])
  levels = list(twin.backbone(x).values())
  outputs = twin.head(levels)
  anchors = twin.anchor_generator(ImageList(x, [size] * len(images)), levels)
  if targets is not None:
    return twin.compute_loss(targets, outputs, anchors)
  sizes = [9 * level.shape[2] * level.shape[3] for level in levels]
  parts = {key: list(value.split(sizes, dim=1)) for key, value in outputs.items()}
  return twin.postprocess_detections(
    parts, [list(each.split(sizes)) for each in anchors], [size] * len(images))


def load(twin, state):
  """Gives a twin the weights of `to_torch`."""
  twin.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()}, strict=True)
  return twin


def state_of(twin, gradients=False):
  """A twin's weights, or the gradients of those that train, for `from_torch`."""
  parameters = dict(twin.named_parameters())
  state = {}
  for key, value in twin.state_dict().items():
    if not key.startswith('backbone.body.fc'):
      value = value if not gradients else (
        parameters[key].grad if key in parameters else torch.zeros_like(value))
      state[key] = value.numpy()
  return state


def same_rows(found, number, image, first_label=1):
  """Rows of our detections of an image, in the order of theirs.

  Scores may differ by less than float32 tells, so that two rows change places. It is an error if a
  box has no other of the same class within 0.01 pixels, or if the numbers of boxes differ.

  Args:
    found: our detections of a batch.
    number: of the image.
    image: theirs.
    first_label: their number of the first class.
  """
  count = int(found.valid[number].sum())
  boxes, labels = np.asarray(found.boxes[number, :count]), np.asarray(found.labels[number, :count])
  assert count == len(image['boxes']) > 3
  rows = []
  for box, label in zip(image['boxes'].numpy(), image['labels'].numpy() - first_label, strict=True):
    distance = np.where(labels == label, np.abs(boxes - box).max(axis=1), np.inf)
    distance[rows] = np.inf
    rows.append(int(np.argmin(distance)))
    assert distance[rows[-1]] < 0.01, (box, label)
  return np.asarray(rows)


def rows(maps, values):
  """Maps `[B, A * values, H, W]` of all levels as `[B, anchors, values]`."""
  flat = [x.detach().numpy().transpose(0, 2, 3, 1).reshape(len(x), -1, values) for x in maps]
  return np.concatenate(flat, axis=1)

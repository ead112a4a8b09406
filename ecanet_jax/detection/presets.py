"""The rules of a detector, which two code bases write differently, as one switch."""

import dataclasses
from collections.abc import Mapping

from ecanet_jax.runtime.errors import lookup


@dataclasses.dataclass(frozen=True)
class MatchRule:
  """Which boxes are positive and which are negative, by IoU with the ground truth.

  Attributes:
    positive: a box with at least this IoU is positive.
    negative: a box with less than this IoU is negative; between the two it is ignored.
    best_box: whether the boxes that overlap a ground-truth box most are positive at any rate.
    best_box_iou: the least IoU for which `best_box` holds.
    best_box_to_asker: such a box is the best of some ground-truth box. True: it belongs to that one
      (the last of several). False: it belongs to the one with which its own IoU is highest.
  """

  positive: float
  negative: float
  best_box: bool = False
  best_box_iou: float = 0.0
  best_box_to_asker: bool = False


@dataclasses.dataclass(frozen=True)
class Preset:
  """The rules of a detector with a feature pyramid; the defaults are torchvision's Faster R-CNN's.

  `dataclasses.replace` gives another detector of the same rules, such as one with few proposals.

  Attributes:
    name: 'torchvision' or 'mmdet1'.
    pixel: pixels that a box has beyond x2 - x1: 0, or 1 where x2 is the last pixel inside.
    strides: pixels of the image per cell of P2, P3, ... as designed.
    coarse: how levels above the backbone's last stage come about: 'pool', 'c5' or 'p5', as in
      `networks.feature_pyramid`.
    relu_before_p7: whether P7 reads P6 through a ReLU.
    anchor_scales: side of the square anchors in strides.
    anchor_ratios: height / width.
    whole_anchor_sizes: sides of square anchors are cut to whole pixels before ratios are applied.
    stride_from_shape: anchors are `image size // cells` apart, or `strides`.
    border_anchors: whether anchors that cross the border of the image take part in training.
    symmetric_clamp: decoded log sizes are clamped on both sides, or only above.
    box_weights: factors of dx, dy, dw and dh in the box head; the proposals' are 1.
    rpn_match, rpn_samples, rpn_positive: targets of the proposals: rule, samples per image, and the
      largest fraction of positives. RetinaNet has the rule, and uses every anchor.
    roi_match, roi_samples, roi_positive: the same of the box head.
    match_ground_truth: ground-truth boxes join the proposals. True: they are matched as these are.
      False: each is a positive and belongs to itself.
    proposals_before_nms, proposals: boxes of a level before NMS, and of an image after it, as
      (training, test). RetinaNet has the first at test: anchors of a level before NMS.
    best_pairs: RetinaNet keeps as many pairs of an anchor and a class of a level, or else all
      classes of the anchors.
    proposal_iou: IoU above which NMS drops a proposal.
    proposal_size, detection_size: smaller boxes are dropped, in pixels; 0 keeps all.
    score: lower scores are no detections.
    detection_iou: IoU above which NMS drops a box of the same class.
    detections: the most of an image.
    least_roi: least side of a RoI in cells of its level.
    finest_roi: a square RoI of 2^k times this side, in pixels, is read from level k, where P2 is 0.
    roi_level_eps_in_log: 1e-6 decides at a boundary. It is added to the logarithm of the side over
      `finest_roi`, or else to this quotient.
    rpn_beta, box_beta: where smooth L1 goes from a parabola to a line, in the losses of anchors and
      of RoIs; 0 = L1.
    rpn_counts_at_least_one: the divisor of the proposals' losses counts at least one positive and
      one negative in every image.
    mean_over_images: RetinaNet's losses are those of each image over its positives, averaged; or
      else those of the batch over its positives.
    binary_masks: mask targets are cut to whole pixels, resized and rounded to 0 or 1; or else they
      are pooled as RoIAlign does.
    mask_border: cells of zeros around a predicted mask before it is pasted.
    frozen_affine: the scale and shift of the backbone's BatchNorm are not trained.
  """

  name: str = 'torchvision'
  pixel: float = 0.0
  strides: tuple[int, ...] = (4, 8, 16, 32, 64)
  coarse: str = 'pool'
  relu_before_p7: bool = False
  anchor_scales: tuple[float, ...] = (8.0,)
  anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
  whole_anchor_sizes: bool = False
  stride_from_shape: bool = True
  border_anchors: bool = True
  symmetric_clamp: bool = False
  box_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
  rpn_match: MatchRule = MatchRule(0.7, 0.3, best_box=True)
  rpn_samples: int = 256
  rpn_positive: float = 0.5
  roi_match: MatchRule = MatchRule(0.5, 0.5)
  roi_samples: int = 512
  roi_positive: float = 0.25
  match_ground_truth: bool = True
  proposals_before_nms: tuple[int, int] = (2000, 1000)
  proposals: tuple[int, int] = (2000, 1000)
  best_pairs: bool = True
  proposal_iou: float = 0.7
  proposal_size: float = 1e-3
  score: float = 0.05
  detection_size: float = 1e-2
  detection_iou: float = 0.5
  detections: int = 100
  least_roi: float = 1.0
  finest_roi: float = 56.0
  roi_level_eps_in_log: bool = True
  rpn_beta: float = 1 / 9
  box_beta: float = 1 / 9
  rpn_counts_at_least_one: bool = False
  mean_over_images: bool = True
  binary_masks: bool = False
  mask_border: int = 1
  frozen_affine: bool = True


# torchvision 0.28, models/detection: faster_rcnn.py, mask_rcnn.py, rpn.py, roi_heads.py, _utils.py.
TORCHVISION = Preset()

# mmdetection 1.0rc0 with configs/faster_rcnn_r50_fpn_1x.py and mask_rcnn_r50_fpn_1x.py. NMS is that
# of its CUDA kernel, which keeps a box whose IoU equals the threshold.
MMDET1 = Preset(
  name='mmdet1',
  pixel=1.0,
  stride_from_shape=False,
  border_anchors=False,
  symmetric_clamp=True,
  rpn_match=MatchRule(0.7, 0.3, best_box=True, best_box_iou=0.3, best_box_to_asker=True),
  roi_match=MatchRule(0.5, 0.5, best_box=True, best_box_iou=0.5, best_box_to_asker=True),
  match_ground_truth=False,
  proposal_size=0.0,
  detection_size=0.0,
  least_roi=0.0,
  roi_level_eps_in_log=False,
  box_beta=1.0,
  best_pairs=False,
  rpn_counts_at_least_one=True,
  mean_over_images=False,
  binary_masks=True,
  mask_border=0,
  frozen_affine=False,
)

# Anchors of RetinaNet: three scales per octave, and offsets as they are.
_RETINANET = {
  'strides': (8, 16, 32, 64, 128), 'anchor_scales': (4.0, 4 * 2 ** (1 / 3), 4 * 2 ** (2 / 3)),
  'box_weights': (1.0, 1.0, 1.0, 1.0),
}

# torchvision 0.28, models/detection/retinanet.py.
RETINANET_TORCHVISION = dataclasses.replace(
  TORCHVISION,
  **_RETINANET,
  coarse='p5',
  relu_before_p7=True,
  whole_anchor_sizes=True,
  rpn_match=MatchRule(0.5, 0.4, best_box=True),
  detection_size=0.0,
  detections=300,
  rpn_beta=0.0,
)

# mmdetection 1.0rc0 with configs/retinanet_r50_fpn_1x.py.
RETINANET_MMDET1 = dataclasses.replace(
  MMDET1,
  **_RETINANET,
  coarse='c5',
  border_anchors=True,
  rpn_match=MatchRule(0.5, 0.4, best_box=True, best_box_to_asker=True),
  rpn_beta=0.11,
)

Presets = Mapping[str, Preset]

PRESETS: Presets = {preset.name: preset for preset in (TORCHVISION, MMDET1)}
RETINANET_PRESETS: Presets = {
  preset.name: preset for preset in (RETINANET_TORCHVISION, RETINANET_MMDET1)}


def get_preset(name: str, presets: Presets = PRESETS) -> Preset:
  """The preset 'torchvision' or 'mmdet1'.

  Args:
    name: of the preset.
    presets: of a kind of detector: PRESETS of Faster and Mask R-CNN, or RETINANET_PRESETS.

  Raises:
    UserError: the name is unknown.
  """
  return lookup(presets, name, 'detection preset')

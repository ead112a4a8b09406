"""The keys of detectors: their network, and their data."""

from ecanet_jax.config.key import Key
from ecanet_jax.config.rules import above, at_least, interval, numbers

# The other keys of `model` are those of the backbone. Rules of a detector that are not set here are
# the preset's.
NETWORK_KEYS = (
  Key('model.backbone', str, 'detectors: another network as backbone, such as eca_efficientnet_b0'),
  Key('model.detector.preset', str, 'whose rules: torchvision | mmdet1'),
  Key('model.detector.channels', int, 'of the feature pyramid', at_least(1)),
  Key('model.detector.hidden', int, "width of the box head's two layers", at_least(1)),
  Key('model.detector.coarse', str,
      'P6 and above: pool (of P5) | c5 | p5 (RetinaNet: convolutions of the last stage or of P5)'),
  Key('model.detector.relu_before_p7', bool, 'RetinaNet: P7 reads P6 through a ReLU'),
  Key('model.detector.mask_convs', int, 'convolutions of the mask head', at_least(0)),
  Key('model.detector.anchor_scales', tuple, 'sides of square anchors, in strides', above(0)),
  Key('model.detector.anchor_ratios', tuple, 'height / width of anchors', above(0)),
  Key('model.detector.rpn_samples', int, 'anchors of an image in the losses', at_least(1)),
  Key('model.detector.roi_samples', int, 'RoIs of an image in the losses', at_least(1)),
  Key('model.detector.roi_positive', float,
      'largest share of positives among them', above(0).at_most(1)),
  Key('model.detector.proposals_before_nms', tuple,
      'of a level: (training, test)', numbers(2, at_least(1))),
  Key('model.detector.proposals', tuple, 'of an image: (training, test)', numbers(2, at_least(1))),
  Key('model.detector.finest_roi', float,
      'pixels: RoIs below twice this side are read from P2', above(0)),
  Key('model.detector.score', float,
      'lower scores are no detections', at_least(0).below(1)),
  Key('model.detector.detections', int, 'the most of an image', at_least(1)),
  Key('model.detector.frozen_affine', bool,
      "the scale and shift of the backbone's BatchNorm are not trained"),
)

DATA_KEYS = (
  Key('data.train_json', '', 'coco, coco_tfds: COCO JSON of the training images'),
  Key('data.eval_json', '', 'likewise of the evaluation images'),
  Key('detection.shorter', 800, 'pixels: shorter side of a resized image', at_least(1)),
  Key('detection.longer', 1333, 'the most pixels of its longer side', at_least(1)),
  Key('detection.buckets', ((800, 1344), (1344, 800)),
      'heights and widths of batches, multiples of 32; one compiled program each'),
  Key('detection.max_boxes', 100, 'the most objects of an image', at_least(1)),
  Key('detection.masks', 'crops',
      'training of masks: crops (each within its box) | bitmaps (of the whole image)'),
  Key('detection.mask_size', 112, 'crops: side in pixels', at_least(1)),
  Key('detection.scale', (1.0, 1.0),
      'training: resized again by a random factor between the two', interval(above(0))),
  Key('detection.empty', 'drop', 'training images without objects: drop | keep'),
  Key('detection.min_side', 32,
      'training: images with a shorter side are left out, in pixels', at_least(0)),
  Key('detection.train_scenes', 100_000, 'scenes: number of training images', at_least(1)),
  Key('detection.eval_scenes', 200, 'scenes: number of evaluation images', at_least(1)),
)

"""RetinaNet: classes and boxes of every anchor (Lin et al., Focal Loss, 2017)."""

import jax

from ecanet_jax.detection.boxes.anchors import anchors_of, anchors_on_image, level_sizes
from ecanet_jax.detection.losses import retinanet_losses
from ecanet_jax.detection.networks.detector import Detector, Levels, sizes_of
from ecanet_jax.detection.networks.ground_truth import GroundTruth
from ecanet_jax.detection.networks.heads import RetinaNetHead
from ecanet_jax.detection.presets import RETINANET_MMDET1, Preset
from ecanet_jax.detection.selection.dense import select_from_anchors
from ecanet_jax.detection.selection.detections import Detections
from ecanet_jax.detection.targets.dense import dense_targets


class RetinaNet(Detector):
  """RetinaNet.

  Parameter names: backbone, fpn, class_head, box_head.
  """

  preset: Preset = RETINANET_MMDET1

  strides = (8, 16, 32)

  def setup(self):
    anchors = self.cell_anchors
    self.fpn = self.feature_pyramid()
    self.class_head = RetinaNetHead(outputs=self.num_classes, anchors=anchors, **self.computes)
    self.box_head = RetinaNetHead(outputs=4, anchors=anchors, prior=0.5, **self.computes)

  def __call__(self, images: jax.Array, train: bool = False,
               image_sizes: jax.Array | None = None) -> tuple[Detections, None]:
    """Detects objects; see `Detector`."""
    sizes = sizes_of(images, image_sizes)
    levels = self.pyramid(images, train)
    logits, deltas = self.heads(levels)
    anchors, on_image = self.anchors(levels, images, sizes)
    per_level = level_sizes([x.shape[1:3] for x in levels], self.preset)
    detections = jax.vmap(
      lambda logits, deltas, on_image, size: select_from_anchors(
        logits, deltas, anchors, on_image, per_level, size, self.preset)
    )(logits, deltas, on_image, sizes)
    return detections, None

  def losses(self, images: jax.Array, image_sizes: jax.Array | None, truth: GroundTruth,
             keys: jax.Array, train: bool = True) -> dict[str, jax.Array]:
    """The losses 'classification' and 'box'; see `Detector`. Nothing is drawn with the keys."""
    sizes = sizes_of(images, image_sizes)
    levels = self.pyramid(images, train)
    logits, deltas = self.heads(levels)
    anchors, on_image = self.anchors(levels, images, sizes)
    targets = jax.vmap(
      lambda on_image, *image: dense_targets(anchors, on_image, *image, self.preset)
    )(on_image, truth.boxes, truth.labels, truth.valid, sizes)
    classification, box = retinanet_losses(logits, deltas, targets, self.preset)
    return {'classification': classification, 'box': box}

  def pyramid(self, images: jax.Array, train: bool) -> Levels:
    """P3 .. P7 of images, each `[B, H, W, channels]`."""
    return self.fpn(self.stage_features(images, train))

  def heads(self, levels: Levels) -> tuple[jax.Array, jax.Array]:
    """Logits `[B, A, num_classes]` and offsets `[B, A, 4]` of all anchors."""
    return self.class_head(levels), self.box_head(levels)

  def anchors(self, levels: Levels, images: jax.Array,
              sizes: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The anchors `[A, 4]`, and which of them are each image's, `[B, A]`."""
    shapes = [x.shape[1:3] for x in levels]
    return (anchors_of(shapes, images.shape[1:3], self.preset),
            jax.vmap(lambda size: anchors_on_image(shapes, size, self.preset))(sizes))

"""Faster R-CNN and Mask R-CNN with a feature pyramid.

Ren et al., Faster R-CNN (2015); He et al., Mask R-CNN (2017); Lin et al., Feature Pyramid Networks
for Object Detection (2017).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ecanet_jax.detection.boxes.anchors import anchors_of, anchors_on_image, level_sizes
from ecanet_jax.detection.losses import box_head_losses, mask_loss, rpn_losses
from ecanet_jax.detection.networks.detector import Detector, Levels, sizes_of
from ecanet_jax.detection.networks.ground_truth import GroundTruth
from ecanet_jax.detection.networks.heads import BoxHead, MaskHead, RPNHead
from ecanet_jax.detection.roi.roi_align import roi_align
from ecanet_jax.detection.selection.detections import (
  Detections,
  masks_of_classes,
  select_detections,
)
from ecanet_jax.detection.selection.proposals import Proposals, select_proposals
from ecanet_jax.detection.targets.anchors import anchor_targets
from ecanet_jax.detection.targets.masks import mask_targets
from ecanet_jax.detection.targets.rois import RoITargets, roi_targets

BOX_BINS, MASK_BINS = 7, 14  # of RoIAlign, on each axis
MASK_SIDE = 2 * MASK_BINS  # of a predicted mask
ROI_LEVELS = 4  # RoIs are read from P2 to P5
MASK_CHUNK = 16  # detections of an image whose masks are computed at a time


class RPNOutput(NamedTuple):
  """What the region proposal network says of a batch, and its anchors.

  Attributes:
    logits: objectness, `[B, A]`.
    deltas: offsets from the anchors, `[B, A, 4]`.
    anchors: `[A, 4]`.
    on_image: `[B, A]`, which anchors are the image's.
    sizes: number of anchors of each level.
  """

  logits: jax.Array
  deltas: jax.Array
  anchors: jax.Array
  on_image: jax.Array
  sizes: tuple[int, ...]


class FasterRCNN(Detector):
  """Faster R-CNN: proposals from every level, then classes and boxes of RoIs.

  Parameter names: backbone, fpn, rpn, box_head.

  Attributes (beside Detector's):
    hidden: width of the box head's two layers.
  """

  hidden: int = 1024

  def setup(self):
    outputs = self.num_classes + 1
    self.fpn = self.feature_pyramid()
    self.rpn = RPNHead(anchors=self.cell_anchors, **self.computes)
    self.box_head = BoxHead(outputs=outputs, hidden=self.hidden, **self.computes)

  def __call__(self, images: jax.Array, train: bool = False,
               image_sizes: jax.Array | None = None) -> tuple[Detections, jax.Array | None]:
    """Detects objects; see `Detector`. Masks are `[B, D, 28, 28]`."""
    sizes = sizes_of(images, image_sizes)
    levels = self.pyramid(images, train)
    proposals = self.propose(self.objectness(levels, images, sizes), sizes, training=False)
    logits, deltas = self.box_head(self.pool(levels, proposals.boxes, BOX_BINS))
    detections = jax.vmap(lambda *image: select_detections(*image, self.preset))(
      logits, deltas, proposals.boxes, proposals.valid, sizes)
    return detections, self.masks(levels, detections)

  def losses(self, images: jax.Array, image_sizes: jax.Array | None, truth: GroundTruth,
             keys: jax.Array, train: bool = True) -> dict[str, jax.Array]:
    """The losses 'objectness', 'rpn_box', 'classification' and 'box'; see `Detector`."""
    sizes = sizes_of(images, image_sizes)
    levels = self.pyramid(images, train)
    keys = jax.vmap(jax.random.split)(keys)
    rpn = self.objectness(levels, images, sizes)
    boxes, labels, valid = truth.boxes, truth.labels, truth.valid
    anchors = jax.vmap(
      lambda key, on_image, *image: anchor_targets(key, rpn.anchors, on_image, *image, self.preset)
    )(keys[:, 0], rpn.on_image, boxes, valid, sizes)
    objectness, rpn_box = rpn_losses(rpn.logits, rpn.deltas, anchors, self.preset)
    proposals = self.propose(rpn, sizes, training=True)
    targets = jax.vmap(lambda *image: roi_targets(*image, self.preset))(
      keys[:, 1], proposals.boxes, proposals.valid, boxes, labels, valid)
    logits, deltas = self.box_head(self.pool(levels, targets.boxes, BOX_BINS))
    classification, box = box_head_losses(logits, deltas, targets, self.preset)
    return {
      'objectness': objectness, 'rpn_box': rpn_box, 'classification': classification, 'box': box,
      **self.mask_losses(levels, targets, truth, images.shape[1:3]),
    }

  def pyramid(self, images: jax.Array, train: bool) -> Levels:
    """P2 .. P6 of images, each `[B, H, W, channels]`."""
    return self.fpn(self.stage_features(images, train))

  def objectness(self, levels: Levels, images: jax.Array, sizes: jax.Array) -> RPNOutput:
    """What the region proposal network says; `sizes` are heights and widths, `[B, 2]`."""
    shapes = [x.shape[1:3] for x in levels]
    logits, deltas = self.rpn(levels)
    anchors = anchors_of(shapes, images.shape[1:3], self.preset)
    on_image = jax.vmap(lambda size: anchors_on_image(shapes, size, self.preset))(sizes)
    return RPNOutput(logits, deltas, anchors, on_image, level_sizes(shapes, self.preset))

  def propose(self, rpn: RPNOutput, sizes: jax.Array, training: bool) -> Proposals:
    """The proposals of a batch, `[B, P, ...]`."""
    return jax.vmap(
      lambda logits, deltas, on_image, size: select_proposals(
        logits, deltas, rpn.anchors, on_image, rpn.sizes, size, self.preset, training)
    )(rpn.logits, rpn.deltas, rpn.on_image, sizes)

  def pool(self, levels: Levels, boxes: jax.Array, bins: int) -> jax.Array:
    """Features `[B, R, bins, bins, channels]` of RoIs `[B, R, 4]`."""
    backend = self.backbone.backend
    return jax.vmap(
      lambda levels, boxes: roi_align(levels, boxes, bins, self.preset, backend=backend)
    )(levels[:ROI_LEVELS], boxes)

  def masks(self, levels: Levels, detections: Detections) -> jax.Array | None:
    """Probabilities of masks in the boxes of detections; None without a mask head."""
    return None

  def mask_losses(self, levels: Levels, targets: RoITargets, truth: GroundTruth,
                  image_size: tuple[int, int]) -> dict[str, jax.Array]:
    """The loss of the masks; nothing without a mask head."""
    return {}


class MaskRCNN(FasterRCNN):
  """Faster R-CNN with a mask for each object.

  Parameter names: those of FasterRCNN, and mask_head.

  Attributes (beside FasterRCNN's):
    mask_convs: convolutions of the mask head before the transposed one.
  """

  mask_convs: int = 4

  def setup(self):
    super().setup()
    self.mask_head = MaskHead(
      outputs=self.num_classes + 1, channels=self.channels, convs=self.mask_convs, **self.computes)

  def masks(self, levels: Levels, detections: Detections) -> jax.Array:
    """Detections come in chunks, the best first; a chunk without any is not computed."""
    if self.is_initializing():
      return self._masks_of(self.mask_head, levels, detections)
    module, variables = self.mask_head.unbind()
    batch, most = detections.valid.shape
    chunks = -(-most // MASK_CHUNK)

    def chunked(x):
      x = jnp.pad(x, ((0, 0), (0, chunks * MASK_CHUNK - most)) + ((0, 0),) * (x.ndim - 2))
      return jnp.moveaxis(x.reshape(batch, chunks, MASK_CHUNK, *x.shape[2:]), 1, 0)

    def masks_of(chunk):
      return self._masks_of(partial(module.apply, variables), levels, chunk)

    def nothing(chunk):
      return jnp.zeros((batch, MASK_CHUNK, MASK_SIDE, MASK_SIDE), jnp.float32)

    masks = lax.map(lambda chunk: lax.cond(jnp.any(chunk.valid), masks_of, nothing, chunk),
                    jax.tree.map(chunked, detections))
    return jnp.moveaxis(masks, 0, 1).reshape(batch, -1, MASK_SIDE, MASK_SIDE)[:, :most]

  def _masks_of(self, head: Callable, levels: Levels, detections: Detections) -> jax.Array:
    logits = head(self.pool(levels, detections.boxes, MASK_BINS))
    return jax.vmap(masks_of_classes)(logits, detections.labels)

  def mask_losses(self, levels, targets, truth, image_size):
    """{'mask': the loss}, of the first rows of the targets, which hold all positives."""
    most = int(self.preset.roi_samples * self.preset.roi_positive)
    boxes, labels, positive, matched = (
      x[:, :most] for x in (targets.boxes, targets.labels, targets.positive, targets.matched))
    wanted = jax.vmap(
      lambda masks, frames, boxes, matched: mask_targets(
        masks, frames, boxes, matched, MASK_SIDE, image_size, self.preset),
      in_axes=(0, None if truth.frames is None else 0, 0, 0),
    )(truth.masks, truth.frames, boxes, matched)
    logits = self.mask_head(self.pool(levels, boxes, MASK_BINS))
    return {'mask': mask_loss(logits, wanted, labels, positive)}

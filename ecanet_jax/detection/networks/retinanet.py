"""RetinaNet: classes and boxes of every anchor (Lin et al., Focal Loss, 2017)."""

import jax

from ecanet_jax.detection.networks.detector import Detector
from ecanet_jax.detection.networks.feature_pyramid import FeaturePyramid
from ecanet_jax.detection.networks.heads import RetinaNetHead


class RetinaNet(Detector):
  """The network with its logits and offsets; there are no losses and no selection of boxes.

  Parameter names: backbone, fpn, class_head, box_head.

  Attributes (beside Detector's):
    coarse: what P6 is computed from, a name of `feature_pyramid.COARSE`.
    relu_before_p7: see `FeaturePyramid`.
  """

  coarse: str = 'c5'
  relu_before_p7: bool = False

  strides = (8, 16, 32)

  def setup(self):
    anchors = self.cell_anchors
    self.fpn = FeaturePyramid(self.channels, self.coarse, self.relu_before_p7, **self.computes)
    self.class_head = RetinaNetHead(outputs=self.num_classes, anchors=anchors, **self.computes)
    self.box_head = RetinaNetHead(outputs=4, anchors=anchors, prior=0.5, **self.computes)

  def __call__(self, images: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
    """Maps images `[B, H, W, in_chans]` to logits `[B, A, num_classes]` and offsets `[B, A, 4]`."""
    levels = self.fpn(self.stage_features(images, train))
    return self.class_head(levels), self.box_head(levels)

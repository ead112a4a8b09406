"""What all detectors share: a backbone with a feature pyramid, and what is frozen of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ecanet_jax.detection.networks.feature_pyramid import COARSE, FeaturePyramid
from ecanet_jax.detection.networks.ground_truth import GroundTruth
from ecanet_jax.detection.presets import MMDET1, Preset
from ecanet_jax.detection.selection.detections import Detections
from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.runtime.errors import UserError, lookup

MULTIPLE = 32  # of the images' sides, in pixels

Levels = tuple[jax.Array, ...]

_AFFINE = ('scale', 'bias')
_LEAST = {'num_classes': 1, 'channels': 1, 'hidden': 1, 'mask_convs': 0}


class Detector(nn.Module):
  """Base of Faster R-CNN, Mask R-CNN and RetinaNet, with one interface.

  Attributes:
    backbone: a classification network; its stages of `strides` are used, not its head.
    preset: the rules.
    num_classes: of objects, without the background.
    channels: of every level of the pyramid.
  """

  backbone: ConvNet
  preset: Preset = MMDET1
  num_classes: int = 80
  channels: int = 256

  strides = (4, 8, 16, 32)

  @property
  def in_chans(self) -> int:
    """Channels of the images."""
    return self.backbone.in_chans

  @property
  def cell_anchors(self) -> int:
    """Anchors of a cell."""
    return len(self.preset.anchor_scales) * len(self.preset.anchor_ratios)

  @property
  def computes(self) -> dict[str, Any]:
    """The backend and the type of all layers: the backbone's."""
    return {'backend': self.backbone.backend, 'dtype': self.backbone.dtype}

  def check(self) -> None:
    """Raises UserError for fields that no detector can have."""
    self.backbone.check()
    for field, least in _LEAST.items():
      if (value := getattr(self, field, least)) < least:
        raise UserError(f'{field}={value} must be at least {least}.')
    stride, found = self.backbone.stem_stride, set()
    for block in self.backbone.blocks():
      stride *= block.stride
      found.add(stride)
    if missing := sorted(set(self.strides) - found):
      raise UserError(
        f'{type(self.backbone).__name__} has no stage of stride {missing[0]}, which this detector '
        'needs; choose another backbone, such as eca_resnet50 or eca_efficientnet_b0.'
      )
    levels = len(self.strides) + lookup(COARSE, self.preset.coarse, 'coarse')
    if levels != (wanted := len(self.preset.strides)):
      fitting = [f'coarse={name!r}' for name in COARSE
                 if len(self.strides) + COARSE[name] == wanted]
      raise UserError(
        f'coarse={self.preset.coarse!r} makes {levels} levels, and this detector has anchors for '
        f'{wanted}; choose {" or ".join(fitting) or "other strides"}.'
      )

  def __call__(self, images: jax.Array, train: bool = False,
               image_sizes: jax.Array | None = None) -> tuple[Detections, jax.Array | None]:
    """Detects objects.

    Args:
      images: `[B, H, W, in_chans]`, normalised, with sides that are multiples of 32, zeros right of
        and below each image.
      train: mode of BatchNorm.
      image_sizes: height and width of each image without the zeros, `[B, 2]`; None = all of it.

    Returns:
      The detections, `[B, D, ...]`, and the masks in their boxes, probabilities `[B, D, M, M]`;
      None without a mask head.

    Raises:
      UserError: the images' sides are no multiples of 32.
    """
    raise NotImplementedError

  def losses(self, images: jax.Array, image_sizes: jax.Array | None, truth: GroundTruth,
             keys: jax.Array, train: bool = True) -> dict[str, jax.Array]:
    """The losses of a batch by their name, each a scalar. Training minimises their sum.

    Args:
      images: as in `__call__`.
      image_sizes: likewise.
      truth: the objects.
      keys: a random key for each image, `[B]` (`targets.sampler.image_keys`).
      train: mode of BatchNorm.
    """
    raise NotImplementedError

  def feature_pyramid(self) -> FeaturePyramid:
    """The module of the feature pyramid."""
    return FeaturePyramid(
      self.channels, self.preset.coarse, self.preset.relu_before_p7, **self.computes)

  def is_frozen(self, path: Sequence[str]) -> bool:
    """Whether training leaves a parameter unchanged.

    Args:
      path: its names, such as ('backbone', 'blocks_0_0', 'conv_1', 'kernel').
    """
    if path[0] != 'backbone':
      return False
    norm = path[-2].endswith('_bn') and path[-1] in _AFFINE
    return self.backbone.is_frozen(path[1:]) or (self.preset.frozen_affine and norm)

  def stages_behind(self, path: Sequence[str]) -> int:
    """Distance of a parameter from the heads: 0 for them and the pyramid, 1 for the last stage."""
    return self.backbone.stages_behind(path[1:]) if path[0] == 'backbone' else 0

  def stage_features(self, images: jax.Array, train: bool) -> Mapping[int, jax.Array]:
    """The backbone's features of `strides`.

    Raises:
      UserError: the images' sides are no multiples of 32.
    """
    height, width = images.shape[1:3]
    if height % MULTIPLE or width % MULTIPLE:
      raise UserError(
        f'images of {height} x {width} pixels: both sides must be multiples of {MULTIPLE}; pad '
        'them with zeros on the right and below.'
      )
    features = self.backbone(images, train, stages=True)
    return {stride: features[stride] for stride in self.strides}


def sizes_of(images: jax.Array, image_sizes: jax.Array | None) -> jax.Array:
  """Heights and widths of the images without padding, `[B, 2]`."""
  if image_sizes is not None:
    return image_sizes
  return jnp.broadcast_to(jnp.asarray(images.shape[1:3]), (images.shape[0], 2))

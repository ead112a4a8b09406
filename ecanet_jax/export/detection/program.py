"""A trained detector as a plain function of images and their sizes."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ecanet_jax.detection.fold import fold_backbone
from ecanet_jax.detection.networks.detector import Detector
from ecanet_jax.export.forward import PREPROCESS
from ecanet_jax.inference.detector import TrainedDetector
from ecanet_jax.runtime.errors import lookup
from ecanet_jax.tasks.detection.detection import normalised

Found = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class DetectorProgram:
  """A detector for inference with fixed shapes, BatchNorm folded into the convolutions.

  Attributes:
    apply: maps images, float32 `[B, H, W, 3]`, and their heights and widths without the padding,
      int32 `[B, 2]`, to 'boxes' `[B, N, 4]`, 'scores', 'labels' and 'valid' `[B, N]`, and 'masks'
      `[B, N, M, M]` if the network has them. The weights are constants in it.
    batch: B.
    size: H and W, in pixels.
    preprocess: a name of `forward.PREPROCESS`; 'inside': images are in 0..255, 'beside':
      normalised, with zeros right of and below each.
    parameters: number of values in the weights.
  """

  apply: Callable[[jax.Array, jax.Array], dict[str, jax.Array]]
  batch: int
  size: tuple[int, int]
  preprocess: str
  parameters: int

  @property
  def types(self) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
    """The types of the images and of their sizes."""
    return (
      jax.ShapeDtypeStruct((self.batch, *self.size, 3), np.float32),
      jax.ShapeDtypeStruct((self.batch, 2), np.int32),
    )

  def outputs(self) -> dict[str, jax.ShapeDtypeStruct]:
    """The types of what `apply` gives, by name."""
    return jax.eval_shape(self.apply, *self.types)


def program_of(
  detector: TrainedDetector, size: tuple[int, int], *, batch: int = 1, preprocess: str = 'beside'
) -> DetectorProgram:
  """Makes the function of a trained detector.

  Args:
    detector: from `inference.detector.load_detector`.
    size: height and width of the images, in pixels.
    batch: images per call.
    preprocess: a name of `forward.PREPROCESS`.

  Raises:
    UserError: an unknown `preprocess`.
  """
  lookup(PREPROCESS, preprocess, '--preprocess')
  model, variables = fold_backbone(float32_model(detector), jax.device_get(detector.variables))
  mean, std = (np.asarray(each, np.float32) for each in (detector.mean, detector.std))

  def apply(images: jax.Array, image_sizes: jax.Array) -> dict[str, jax.Array]:
    if preprocess == 'inside':
      images = normalised(images, image_sizes, mean, std)
    return named(*model.apply(variables, images, train=False, image_sizes=image_sizes))

  values = sum(leaf.size for leaf in jax.tree.leaves(variables))
  return DetectorProgram(apply, batch, size, preprocess, values)


def float32_model(detector: TrainedDetector) -> Detector:
  """The detector's network, which computes in float32 by XLA's own operations."""
  backbone = detector.model.backbone.clone(backend='xla', dtype=jnp.float32)
  return detector.model.clone(backbone=backbone)


def named(found, masks: jax.Array | None) -> dict[str, jax.Array]:
  """What a network gives, by name."""
  return found._asdict() | ({} if masks is None else {'masks': masks})

"""The five losses of Mask R-CNN and the two of RetinaNet, each a scalar over the batch.

Rows that hold no sample have weight 0 and gradient 0, whatever they hold.
"""

import jax
import jax.numpy as jnp
import optax

from ecanet_jax.detection.presets import Preset
from ecanet_jax.detection.targets.anchors import AnchorTargets
from ecanet_jax.detection.targets.dense import DenseTargets
from ecanet_jax.detection.targets.matcher import IGNORED, POSITIVE
from ecanet_jax.detection.targets.rois import RoITargets

ALPHA, GAMMA = 0.25, 2.0  # of the focal loss


def rpn_losses(logits: jax.Array, deltas: jax.Array, targets: AnchorTargets,
               preset: Preset) -> tuple[jax.Array, jax.Array]:
  """Objectness and box loss of the proposals, both over the number of anchors drawn in the batch.

  Args:
    logits: objectness, `[B, A]`.
    deltas: offsets, `[B, A, 4]`.
    targets: of each image, `[B, S, ...]`.
    preset: beta, and how samples are counted.
  """
  index, valid, positive = targets.samples
  logits = jnp.take_along_axis(logits, index, axis=1).astype(jnp.float32)
  deltas = jnp.take_along_axis(deltas, index[..., None], axis=1)
  number = _count(valid, positive, preset)
  entropy = optax.sigmoid_binary_cross_entropy(logits, positive.astype(jnp.float32))
  objectness = jnp.sum(jnp.where(valid, entropy, 0.0)) / number
  return objectness, smooth_l1(deltas, targets.deltas, positive, preset.rpn_beta) / number


def box_head_losses(logits: jax.Array, deltas: jax.Array, targets: RoITargets,
                    preset: Preset) -> tuple[jax.Array, jax.Array]:
  """Classification and box loss of the box head, both over the number of RoIs drawn in the batch.

  Args:
    logits: `[B, S, K]`.
    deltas: offsets of each class, `[B, S, K, 4]`.
    targets: of each image, `[B, S, ...]`.
    preset: beta.
  """
  entropy = optax.softmax_cross_entropy_with_integer_labels(
    logits.astype(jnp.float32), targets.labels)
  number = jnp.maximum(jnp.sum(targets.valid), 1)
  classification = jnp.sum(jnp.where(targets.valid, entropy, 0.0)) / number
  own = jnp.take_along_axis(deltas, targets.labels[..., None, None], axis=2)[:, :, 0]
  box = smooth_l1(own, targets.deltas, targets.positive, preset.box_beta)
  return classification, box / number


def mask_loss(logits: jax.Array, masks: jax.Array, labels: jax.Array,
              positive: jax.Array) -> jax.Array:
  """Mean binary cross-entropy of the masks of the true classes; 0 without positives.

  Args:
    logits: `[B, S, M, M, K]`.
    masks: targets, `[B, S, M, M]`.
    labels: `[B, S]`.
    positive: `[B, S]`, which RoIs count.
  """
  own = jnp.take_along_axis(logits, labels[:, :, None, None, None], axis=-1)[..., 0]
  entropy = optax.sigmoid_binary_cross_entropy(own.astype(jnp.float32), masks)
  total = jnp.sum(jnp.where(positive[:, :, None, None], entropy, 0.0))
  return total / (jnp.maximum(jnp.sum(positive), 1) * masks.shape[-1] * masks.shape[-2])


def retinanet_losses(logits: jax.Array, deltas: jax.Array, targets: DenseTargets,
                     preset: Preset) -> tuple[jax.Array, jax.Array]:
  """Focal loss of the classes (Lin et al., 2017, equation 5) and box loss, both over positives.

  An image without positives counts as one with one.

  Args:
    logits: `[B, A, K]`, without the background.
    deltas: offsets, `[B, A, 4]`.
    targets: of each image, `[B, A, ...]`.
    preset: beta, and how positives are counted.
  """
  positive = targets.kind == POSITIVE
  wanted = positive[..., None] * jax.nn.one_hot(targets.labels, logits.shape[-1])
  focal = optax.sigmoid_focal_loss(
    logits.astype(jnp.float32), wanted, alpha=ALPHA, gamma=GAMMA)
  focal = jnp.where((targets.kind != IGNORED)[..., None], focal, 0.0)
  positives = jnp.maximum(jnp.sum(positive, axis=1), 1)
  if preset.mean_over_images:
    divisor = positives * len(positives)
  else:
    divisor = jnp.broadcast_to(jnp.sum(positives), positives.shape)
  box = jax.vmap(lambda *image: smooth_l1(*image, preset.rpn_beta))(
    deltas, targets.deltas, positive)
  return jnp.sum(jnp.sum(focal, axis=(1, 2)) / divisor), jnp.sum(box / divisor)


def smooth_l1(predicted: jax.Array, target: jax.Array, positive: jax.Array,
              beta: float) -> jax.Array:
  """Sum over positives of a parabola up to `beta` and a line behind it; `beta` 0 is L1.

  Girshick, Fast R-CNN (2015), equation 3, with d^2 / (2 beta) and |d| - beta / 2.

  Args:
    predicted: `[..., 4]`.
    target: `[..., 4]`.
    positive: `[...]`, which rows count.
    beta: in units of the offsets.
  """
  difference = jnp.where(positive[..., None], predicted.astype(jnp.float32) - target, 0.0)
  if not beta:
    return jnp.sum(jnp.abs(difference))
  return beta * jnp.sum(optax.huber_loss(difference / beta, delta=1.0))


def _count(valid: jax.Array, positive: jax.Array, preset: Preset) -> jax.Array:
  """Anchors that the proposals' losses are divided by."""
  if not preset.rpn_counts_at_least_one:
    return jnp.maximum(jnp.sum(valid), 1)
  positives = jnp.sum(positive, axis=1)
  negatives = jnp.sum(valid, axis=1) - positives
  return jnp.sum(jnp.maximum(positives, 1) + jnp.maximum(negatives, 1))

"""Images with any number of labels: binary cross-entropy, mean average precision, F1."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ecanet_jax.tasks.classification import Classification
from ecanet_jax.tasks.task import Batch, Metric

MAP = Metric('mean_average_precision', 'mAP', 100, '%')
MICRO_F1 = Metric('micro_f1', 'micro F1', 100, '%')
MACRO_F1 = Metric('macro_f1', 'macro F1', 100, '%')


class MultiLabelClassification(Classification):
  """Images uint8 `[B, H, W, 3]` with labels bool `[B, classes]`; each class is a binary question.

  - Targets of a mixed image are the mean of both images' targets, weighted by their shares.
  - Label smoothing a makes a target y (1 - a) y + a / 2, as in Keras's BinaryCrossentropy.
  - A class weight is the factor of the class's term in the loss.
  """

  headline, shown, joined = MAP, (MAP, MICRO_F1, MACRO_F1), ('scores', 'labels', 'mask')
  evaluation_loss = 'bce'

  def targets(self, label: jax.Array, classes: int) -> jax.Array:
    return label.astype(jnp.float32)

  def smooth(self, targets: jax.Array) -> jax.Array:
    return (1 - self.smoothing) * targets + self.smoothing / 2

  def sums(self, outputs: jax.Array, batch: Batch) -> dict[str, jax.Array]:
    """The sum of the loss, and scores and labels of every image, `[B, classes]`."""
    mask, label = batch['mask'], batch['label']
    loss = optax.sigmoid_binary_cross_entropy(outputs, label.astype(outputs.dtype)).mean(-1)
    return {
      'scores': outputs, 'labels': label, 'mask': mask,
      'loss': jnp.where(mask, loss, 0.0).sum(), 'seen': mask.sum(),
    }

  def metrics(self, sums: dict[str, np.ndarray]) -> dict:
    """The metrics of a split.

    Returns:
      - mean_average_precision: mean of `average_precision` over the classes that are on an image.
      - macro_f1: the mean of F1 = 2 TP / (2 TP + FP + FN) over the same classes, for the threshold
        0.5. micro_f1: F1 of the summed TP, FP and FN of all classes.
      - loss: mean binary cross-entropy.
      - classes_without_images: number of classes that are on no image; only if there are any.
    """
    mask = np.asarray(sums['mask'])
    scores, labels = np.asarray(sums['scores'])[mask], np.asarray(sums['labels'])[mask]
    present = labels.any(0)
    precisions = [
      average_precision(labels[:, index], scores[:, index]) for index in np.flatnonzero(present)
    ]
    answers = scores > 0  # logits: a probability above 0.5
    right, wrong = (labels & answers).sum(0), (labels ^ answers).sum(0)
    by_class = 2 * right[present] / (2 * right + wrong)[present]
    total = 2 * right.sum() + wrong.sum()
    metrics = {
      MAP.name: float(np.mean(precisions)) if precisions else 0.0,
      MICRO_F1.name: float(2 * right.sum() / total) if total else 0.0,
      MACRO_F1.name: float(by_class.mean()) if precisions else 0.0,
      'loss': sums['loss'] / sums['seen'],
    }
    missing = int((~present).sum())
    return {**metrics, 'classes_without_images': missing} if missing else metrics


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
  """The sum of precision times increase of recall over all thresholds, from the highest score down.

  Equal scores are one threshold, as in scikit-learn's average_precision_score. A NaN ranks last.

  Args:
    labels: bool [n], at least one True.
    scores: [n].
  """
  scores = np.where(np.isnan(scores), -np.inf, scores)
  order = np.argsort(-scores, kind='stable')
  found, ranked = np.cumsum(labels[order]), scores[order]
  last = np.append(ranked[1:] != ranked[:-1], True)  # of the images with the same score
  found, seen = found[last], np.flatnonzero(last) + 1
  return float((np.diff(found, prepend=0) * found / seen).sum() / found[-1])

"""Classification metrics beyond top-1 and top-5: by class, confusion, calibration.

All are sums over images, so they are exact for any batch size, devices and processes.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ecanet_jax.runtime.errors import UserError
from ecanet_jax.tasks.classification import Classification, rank_of
from ecanet_jax.tasks.task import Batch

BINS = 15  # Guo et al. 2017 (1706.04599), section 2 and table 1
CONFUSION = 4096  # most classes for which confused pairs are counted


class ClassificationMetrics(Classification):
  """`Classification` with more metrics.

  - Labels are int32 `[B]`, or bool `[B, classes]` of a multi-label set (ReaL). Any of
    several labels is right, and the loss is minus the logarithm of their summed probability. Images
    without a label are left out, and there are no metrics by class.
  - With `columns`, only the logits of these classes are compared. Labels still number all classes.
  """

  def __init__(self, config, columns: tuple[int, ...] = ()):
    super().__init__(config)
    self.columns = columns

  def sums(self, outputs: jax.Array, batch: Batch) -> dict[str, jax.Array]:
    """Sums over the images with `mask` that have a label."""
    mask, label = batch['mask'], batch['label']
    multi_label, classes = label.ndim == 2, outputs.shape[-1]
    truth = label if multi_label else label[:, None] == jnp.arange(classes)[None]
    if self.columns:
      columns = jnp.asarray(self.columns)
      outputs, truth = outputs[:, columns], truth[:, columns]
    labelled = truth.any(-1)
    seen = mask & labelled
    # The label with the highest score; argmax takes the lowest index of equal ones.
    best = jnp.where(truth, outputs, -jnp.inf).argmax(-1)
    log_probability = jax.nn.log_softmax(outputs)
    right = jnp.where(truth, log_probability, -jnp.inf)
    # Images without a label do not count, but must not give NaN.
    loss = -jax.nn.logsumexp(jnp.where(labelled[:, None], right, 0.0), axis=-1)
    rank = rank_of(outputs, best)
    sums = {
      'top1': (seen & (rank < 1)).sum(),
      'top5': (seen & (rank < 5)).sum(),
      'loss': jnp.where(seen, loss, 0.0).sum(),
      'seen': seen.sum(),
      'left_out': (mask & ~labelled).sum() if multi_label else jnp.zeros((), jnp.int32),
      **_bins(jnp.exp(log_probability).max(-1), rank < 1, seen),
    }
    if not multi_label:
      sums |= _classes(best, outputs.argmax(-1), seen, outputs.shape[-1])
    return sums

  def metrics(self, sums: dict[str, np.ndarray]) -> dict:
    """The metrics of a split. Classes have their numbers among all classes, even with `columns`.

    Returns:
      - top1, top5 and loss (means), top1_count and top5_count (images), ece.
      - bins: lists of count, correct (images) and confidence (sum) by bin.
      - With single labels also mean_per_class, the mean accuracy of the classes that have images;
        classes, a list of {class, seen, correct}; and confused, a list of [label, answer, images],
        the commonest first.
    """
    if not sums['seen']:
      raise UserError('the evaluation split has no image with a label')
    bins = {name: np.asarray(sums[f'bin_{name}']) for name in ('count', 'correct', 'confidence')}
    gap = np.abs(bins['correct'] - bins['confidence']).sum()
    metrics = {
      **super().metrics(sums), 'ece': float(gap / sums['seen']),
      'bins': {name: values.tolist() for name, values in bins.items()},
    }
    if sums['left_out']:
      metrics['left_out'] = int(sums['left_out'])
    if 'class_seen' not in sums:
      return metrics
    names = self.columns or range(len(sums['class_seen']))
    seen, correct = np.asarray(sums['class_seen']), np.asarray(sums['class_correct'])
    metrics['mean_per_class'] = float((correct[seen > 0] / seen[seen > 0]).mean())
    metrics['classes'] = [
      {'class': int(name), 'seen': int(one), 'correct': int(right)}
      for name, one, right in zip(names, seen, correct, strict=True)
    ]
    if 'confusion' in sums:
      pairs = np.array(sums['confusion'])
      np.fill_diagonal(pairs, 0)
      found = [(int(names[i]), int(names[j]), int(pairs[i, j])) for i, j in np.argwhere(pairs)]
      metrics['confused'] = [list(pair) for pair in sorted(found, key=lambda pair: -pair[2])]
    return metrics


def _bins(confidence, correct, seen) -> dict[str, jax.Array]:
  """Images, right answers and summed confidence of each bin (lower, upper] of confidence."""
  inner = jnp.arange(1, BINS, dtype=jnp.float32) / BINS
  place = jnp.searchsorted(inner, confidence, side='left')
  empty = jnp.zeros((BINS,), jnp.int32)
  return {
    'bin_count': empty.at[place].add(seen),
    'bin_correct': empty.at[place].add(seen & correct),
    'bin_confidence': empty.astype(jnp.float32).at[place].add(jnp.where(seen, confidence, 0.0)),
  }


def _classes(label, answer, seen, classes: int) -> dict[str, jax.Array]:
  """Images and right answers of each class, and the confusion matrix `[label, answer]`."""
  empty = jnp.zeros((classes,), jnp.int32)
  sums = {
    'class_seen': empty.at[label].add(seen),
    'class_correct': empty.at[label].add(seen & (answer == label)),
  }
  if classes <= CONFUSION:
    sums['confusion'] = jnp.zeros((classes, classes), jnp.int32).at[label, answer].add(seen)
  return sums

"""Training images that cannot be decoded: counted, named, and replaced by the same ones every time.

Nothing is spent on it until one is met. Then the stream begins again at that batch with a guard
around every image. What takes the place of image i of an epoch is the next one, i + 1 or the first
after it that can be decoded, cropped as i would have been: a pure function of (seed, epoch, index).
TFRecord files cannot be read at random: there it is the next good image of the batch.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ecanet_jax.data.tfdata import tf_import
from ecanet_jax.data.types import Batch
from ecanet_jax.runtime.errors import UserError

tf = tf_import.tensorflow()

log = logging.getLogger('ecanet_jax')

NAMED = 20  # of them, in the log
TRIES = 100  # images in a row that cannot be decoded are no accident


class Broken:
  """The images of one training split that were met and cannot be decoded.

  Attributes:
    names: with what TensorFlow says of them.
  """

  def __init__(
    self, fraction: float, images: int, spares: Callable[[int, int], Iterator[dict]] | None = None
  ):
    """Allows `fraction * images` of them.

    Args:
      fraction: data.max_bad.
      images: of the split.
      spares: (key, index) -> the records that may take the place of that image, in turn; None = the
        batch's others.

    Raises:
      UserError: the fraction is not one.
    """
    self.names: dict[str, str] = {}
    self._spares, self._images, self._fraction = spares, images, fraction
    self.allowed = allowed(fraction, images)

  def guarded(self, transform: Callable) -> Callable:
    """Returns `transform` of a record, but where it fails zeros, and what `mend` needs."""

    def apply(record):
      one = tf.data.Dataset.from_tensors(record).map(transform)
      spec = one.element_spec
      nothing = {key: tf.zeros(kind.shape, kind.dtype) for key, kind in spec.items()}
      whole = one.map(lambda image: (image, False)).ignore_errors()
      missing = tf.data.Dataset.from_tensors((nothing, True))
      image, bad = whole.concatenate(missing).take(1).get_single_element()
      data = tf.where(bad, record['data'], b'')
      return image | {'bad': bad, 'seed': record['seed'], 'name': record['name'], 'data': data}

    return apply

  def mend(self, batch: Batch, transform: Callable, why: Callable[[Exception], str]) -> Batch:
    """Returns {'image', 'label'} of a guarded batch, with others in the place of broken ones.

    Args:
      batch: of `guarded`.
      transform: of a record.
      why: an error in words.

    Raises:
      UserError: there are more of them than allowed, or nothing can take their place.
    """
    image, label, bad = batch['image'], batch['label'], batch['bad']
    if bad.any():
      image, label = image.copy(), label.copy()
    for row in np.flatnonzero(bad):
      keys = ('data', 'seed', 'name', 'label')
      record = {key: tf.constant(batch[key][row]) for key in keys}
      self._add(record, transform, why)
      if self._spares is None:
        good = [place for place in (*range(row, len(bad)), *range(row)) if not bad[place]]
        if not good:
          raise UserError(f'{self._text(record)}; no other image of the batch can be decoded.')
        image[row], label[row] = batch['image'][good[0]], batch['label'][good[0]]
      else:
        image[row], label[row] = self._spare(record, transform)
    return {'image': image, 'label': label}

  def end(self) -> None:
    """Says how many there were."""
    if self.names:
      log.warning(
        '%d of %s training images could not be decoded; others took their places: %s%s',
        len(self.names), f'{self._images:,}', ', '.join(list(self.names)[:NAMED]),
        ' ...' if len(self.names) > NAMED else '',
      )

  def _add(self, record: dict[str, Any], transform: Callable, why: Callable) -> None:
    name = record['name'].numpy().decode()
    if name in self.names:
      return
    self.names[name] = 'it can be decoded now'
    try:
      transform(record)
    except tf.errors.OpError as error:
      self.names[name] = why(error)
    if len(self.names) > self.allowed:
      raise UserError(
        f'{self._text(record)}. That is {len(self.names)} of {self._images:,} and '
        f'data.max_bad={self._fraction:g} allows {self.allowed}.'
      )
    if len(self.names) <= NAMED:
      log.warning('%s; another one takes its place', self._text(record))

  def _text(self, record: dict[str, Any]) -> str:
    name = record['name'].numpy().decode()
    return f'{name}: the image cannot be decoded: {self.names[name]}'

  def _spare(self, record: dict[str, Any], transform: Callable):
    for _, spare in zip(range(TRIES), self._spares(*record['seed'].numpy())):
      try:
        found = transform({key: tf.constant(value) for key, value in spare.items()})
      except tf.errors.OpError:
        continue
      return found['image'].numpy(), found['label'].numpy()
    raise UserError(f'{self._text(record)}; nor can the {TRIES} images that follow it.')


def allowed(fraction: float, images: int) -> int:
  """How many of the images may be broken.

  Raises:
    UserError: the fraction is not one.
  """
  if not 0 <= fraction <= 1:
    raise UserError(f'data.max_bad={fraction} must be from 0 to 1.')
  return int(fraction * images)

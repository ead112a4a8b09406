"""Training images that cannot be decoded: they are counted, named and replaced.

This costs nothing until such an image is met. The stream then starts again at that batch with a
guard around every image. Image i of an epoch is replaced by image i + 1, or by the first one after
it that can be decoded, with the crop of image i. The replacement is a pure function of
(seed, epoch, index). TFRecord files cannot be read at random, so there the next good image of the
batch is taken.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ecanet_jax.data.tfdata import tf_import
from ecanet_jax.data.types import Batch
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.log import log

tf = tf_import.tensorflow()

NAMED = 20  # images that the log names
TRIES = 100  # images in a row that are tried as a replacement
# What a decoder raises. Outside of graphs it is the error of the Python function itself.
UNDECODABLE = (tf.errors.OpError, UserError)
# TensorFlow adds two tracebacks to an error of a Python function.
_FROM_PYTHON = re.compile(r'UserError: (.*)\nTraceback \(most recent call last\)')


class CorruptImages:
  """The images of one training split that could not be decoded.

  Attributes:
    names: the message of TensorFlow by name of the image.
    allowed: how many there may be.
  """

  def __init__(
    self, fraction: float, images: int, spares: Callable[[int, int], Iterator[dict]] | None = None
  ):
    """Allows `fraction * images` corrupt images.

    Args:
      fraction: data.max_bad.
      images: number of images in the split.
      spares: (key, index) -> the records that may replace that image, in this order; None = the
        other images of the batch.

    Raises:
      UserError: the fraction is not from 0 to 1.
    """
    self.names: dict[str, str] = {}
    self._spares, self._images, self._fraction = spares, images, fraction
    self.allowed = allowed_count(fraction, images)

  def guard(self, transform: Callable) -> Callable:
    """Returns `transform` of a record, but with zeros where it fails, and what `replace` needs."""

    def apply(record):
      one = tf.data.Dataset.from_tensors(record).map(transform)
      zeros = {key: tf.zeros(spec.shape, spec.dtype) for key, spec in one.element_spec.items()}
      good = one.map(lambda image: (image, False)).ignore_errors()
      otherwise = tf.data.Dataset.from_tensors((zeros, True))
      image, bad = good.concatenate(otherwise).take(1).get_single_element()
      data = tf.where(bad, record['data'], b'')
      return image | {'bad': bad, 'seed': record['seed'], 'name': record['name'], 'data': data}

    return apply

  def replace(self, batch: Batch, transform: Callable) -> Batch:
    """Returns {'image', 'label'} of a batch with its corrupt images replaced.

    Args:
      batch: records after `guard(transform)`.
      transform: record -> {'image', 'label'}.

    Raises:
      UserError: more corrupt images than allowed, or no replacement.
    """
    image, label, bad = batch['image'], batch['label'], batch['bad']
    if bad.any():
      image, label = image.copy(), label.copy()
    for row in np.flatnonzero(bad):
      keys = ('data', 'seed', 'name', 'label')
      record = {key: tf.constant(batch[key][row]) for key in keys}
      self._add(record, transform)
      if self._spares is None:
        good = [place for place in (*range(row, len(bad)), *range(row)) if not bad[place]]
        if not good:
          raise UserError(f'{self._text(record)}; no other image of the batch can be decoded.')
        image[row], label[row] = batch['image'][good[0]], batch['label'][good[0]]
      else:
        image[row], label[row] = self._spare(record, transform)
    return {'image': image, 'label': label}

  def log_summary(self) -> None:
    """Logs how many images were replaced, if any."""
    if self.names:
      log.warning(
        '%d of %s training images could not be decoded and were replaced by others: %s%s',
        len(self.names), f'{self._images:,}', ', '.join(list(self.names)[:NAMED]),
        ' ...' if len(self.names) > NAMED else '',
      )

  def _add(self, record: dict[str, Any], transform: Callable) -> None:
    name = record['name'].numpy().decode()
    if name in self.names:
      return
    self.names[name] = 'it can be decoded now'
    try:
      transform(record)
    except UNDECODABLE as error:
      self.names[name] = error_text(error)
    if len(self.names) > self.allowed:
      raise UserError(
        f'{self._text(record)}. That is {len(self.names)} of {self._images:,} and '
        f'data.max_bad={self._fraction:g} allows {self.allowed}.'
      )
    if len(self.names) <= NAMED:
      log.warning('%s; it is replaced by another image', self._text(record))

  def _text(self, record: dict[str, Any]) -> str:
    name = record['name'].numpy().decode()
    return f'{name}: the image cannot be decoded: {self.names[name]}'

  def _spare(self, record: dict[str, Any], transform: Callable):
    for _, spare in zip(range(TRIES), self._spares(*record['seed'].numpy())):
      try:
        found = transform({key: tf.constant(value) for key, value in spare.items()})
      except UNDECODABLE:
        continue
      return found['image'].numpy(), found['label'].numpy()
    raise UserError(f'{self._text(record)}; nor can the {TRIES} images that follow it.')


def allowed_count(fraction: float, images: int) -> int:
  """Returns how many of the images may be corrupt.

  Raises:
    UserError: the fraction is not from 0 to 1.
  """
  if not 0 <= fraction <= 1:
    raise UserError(f'data.max_bad={fraction} must be from 0 to 1.')
  return int(fraction * images)


def error_text(error: Exception) -> str:
  """Returns the message of a TensorFlow error on one line, without the names of its operations."""
  text = str(getattr(error, 'message', None) or error)
  if found := _FROM_PYTHON.search(text):
    return found[1][:200]
  text = ' '.join(text.split())
  text = text.split('}} ')[-1] if text.startswith('{{') else text
  return text.split(' [Op:')[0].split(' [[{{')[0][:200]

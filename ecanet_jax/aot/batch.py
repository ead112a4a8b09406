"""The shapes of a batch of a config, as the data pipeline gives them."""

import jax
import jax.numpy as jnp

from ecanet_jax.data.detection.open import settings_of
from ecanet_jax.tasks.choice import has_several_labels
from ecanet_jax.training.progressive_resizing import stretches

Shapes = dict[str, jax.ShapeDtypeStruct]


def image_batch(
  config, step: str, steps_per_epoch: float, total_steps: int
) -> tuple[Shapes, tuple[int, int]]:
  """A batch of classification; with a `data.size_schedule` the images have the largest size.

  Args:
    config: the whole config.
    step: 'train' or 'eval'.
    steps_per_epoch: of the training.
    total_steps: of the training.

  Returns:
    The shapes, and height and width of the images.
  """
  rows, size = _rows(config, step), config.data.image_size
  if step == 'train':
    size = max(part.size for part in stretches(config, steps_per_epoch, total_steps))
  batch = {'image': _array(rows, (size, size, 3), jnp.uint8), 'label': _array(rows, (), jnp.int32)}
  if has_several_labels(config):
    batch['label'] = _array(rows, (config.model.num_classes,), jnp.bool_)
  return _with_mask(batch, rows, step), (size, size)


def detection_batch(config, step: str, with_masks: bool) -> tuple[Shapes, tuple[int, int]]:
  """A batch of a detector, in the largest of its buckets.

  Args:
    config: the whole config.
    step: 'train' or 'eval'.
    with_masks: whether the detector learns masks.

  Returns:
    The shapes, and height and width of the images.
  """
  settings, rows = settings_of(config, with_masks), _rows(config, step)
  size = max(settings.buckets, key=lambda bucket: bucket[0] * bucket[1])
  batch = {
    'image': _array(rows, (*size, 3), jnp.uint8), 'image_size': _array(rows, (2,), jnp.int32),
    'scale': _array(rows, (2,), jnp.float32), 'index': _array(rows, (), jnp.int32),
  }
  if step == 'train':
    most = settings.max_boxes
    batch |= {
      'boxes': _array(rows, (most, 4), jnp.float32), 'labels': _array(rows, (most,), jnp.int32),
      'valid': _array(rows, (most,), jnp.bool_),
    }
    if with_masks:
      shape = size if settings.masks == 'bitmaps' else (settings.mask_size,) * 2
      batch['masks'] = _array(rows, (most, *shape), jnp.uint8)
  return _with_mask(batch, rows, step), size


def _rows(config, step: str) -> tuple[int, ...]:
  parts = config.accumulate if step == 'train' else 1
  return (parts, config.batch_size // parts) if parts > 1 else (config.batch_size,)


def _with_mask(batch: Shapes, rows: tuple[int, ...], step: str) -> Shapes:
  return {**batch, 'mask': _array(rows, (), jnp.bool_)} if step == 'eval' else batch


def _array(rows: tuple[int, ...], shape: tuple[int, ...], dtype) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct((*rows, *shape), dtype)

"""Progressive resizing: the size of the training images by step.

Tan and Le, "EfficientNetV2" (2021), section 4, train with growing images; so does fastai. Only the
size changes: order and augmentation of the images still follow from (seed, epoch, index).
"""

import dataclasses
import itertools

from ecanet_jax.nn.parameter_shapes import parameter_shapes
from ecanet_jax.runtime.errors import UserError


@dataclasses.dataclass(frozen=True)
class Stretch:
  """The steps in [first, end), with images of `size` pixels."""

  first: int
  end: int
  size: int


def stretches(config, steps_per_epoch: float, total_steps: int) -> list[Stretch]:
  """The steps of a training by image size, in order, without sizes that are never reached.

  Raises:
    UserError: data.size_schedule is malformed.
  """
  given = config.data.size_schedule
  if not given:
    return [Stretch(0, total_steps, config.data.image_size)]
  try:
    epochs, sizes = zip(*((float(epoch), size) for epoch, size in given))
    rising = epochs[0] == 0 and all(a < b for a, b in itertools.pairwise(epochs))
    right = rising and all(isinstance(size, int) and size >= 1 for size in sizes)
  except (TypeError, ValueError):
    right = False
  if not right:
    raise UserError(
      f'data.size_schedule={given} must be pairs (epoch, pixels) such as ((0, 128), (5, 224)): '
      'epochs that rise from 0, whole pixels from 1 on.'
    )
  firsts = [min(round(epoch * steps_per_epoch), total_steps) for epoch in epochs]
  ends = [*firsts[1:], total_steps]
  found = [Stretch(*stretch) for stretch in zip(firsts, ends, sizes)]
  return [stretch for stretch in found if stretch.first < stretch.end]


def size_at(parts: list[Stretch], step: int) -> int:
  """The size of the training images at a step, in pixels."""
  return next(part.size for part in parts if part.first <= step < part.end)


def check_sizes(model, image_size: int, sizes: set[int]) -> None:
  """Raises UserError if the shapes of the network's arrays depend on the image size."""
  others = sorted(sizes - {image_size})
  expected = parameter_shapes(model, image_size) if others else {}
  for size in others:
    for key, shape in parameter_shapes(model, size).items():
      if shape != expected[key]:
        raise UserError(
          f'data.size_schedule: {key} is {list(shape)} for images of {size} px and '
          f'{list(expected[key])} for data.image_size={image_size}; this network takes one size.'
        )

"""The training batches of all steps, each with the compiled step for it."""

import functools
from collections.abc import Callable, Iterator, Sequence

import jax

from ecanet_jax.data import Batch, Dataset
from ecanet_jax.data.sources.on_device import Resident
from ecanet_jax.training.progressive_resizing import Stretch


def step_stream(
  dataset: Dataset, stretches: Sequence[Stretch], start: int,
  make_step: Callable[[Resident | None], Callable],
) -> Iterator[tuple[Callable, Batch]]:
  """Yields the compiled training step and the batch of each step from `start` on.

  Args:
    dataset: the opened data set.
    stretches: all steps of the training, by image size.
    start: number of the first step.
    make_step: returns the compiled training step for resident images, or for batches of images
      (None). The latter compiles again for another image size.
  """
  hosts = {'host': jax.process_index(), 'num_hosts': jax.process_count()}
  step = None
  for stretch in stretches:
    first = max(start, stretch.first)
    if first >= stretch.end:
      continue
    if dataset.config.data.resident:
      step = None  # frees the images of the previous size
      resident = dataset.resident(stretch.size)
      step, batches = make_step(resident), resident.train
    else:
      step = step or make_step(None)
      batches = functools.partial(dataset.train, image_size=stretch.size)
    for batch in batches(first, stretch.end - first, **hosts):
      yield step, batch

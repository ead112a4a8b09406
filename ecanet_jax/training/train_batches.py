"""What the training takes step by step: the compiled step and its batch, at each image size."""

import functools
from collections.abc import Callable, Iterator, Sequence

import jax

from ecanet_jax import data
from ecanet_jax.data.sources.on_device import Resident
from ecanet_jax.data.types import Batch
from ecanet_jax.training import progressive_resizing
from ecanet_jax.training.progressive_resizing import Stretch


def step_stream(
  config, stretches: Sequence[Stretch], start: int, make_step: Callable[[Resident | None], Callable]
) -> Iterator[tuple[Callable, Batch]]:
  """Yields for each step from `start` on the function that computes it and its batch.

  Args:
    config: the whole config.
    stretches: all steps of the training, by image size.
    start: the first step.
    make_step: the compiled training step, for images that stay on the device or for a stream of
      them; it compiles anew for images of another size.
  """
  hosts = {'host': jax.process_index(), 'num_hosts': jax.process_count()}
  step = None
  for stretch in stretches:
    first = max(start, stretch.first)
    if first >= stretch.end:
      continue
    sized = progressive_resizing.sized(config, stretches, first)
    if config.data.resident:
      step = None  # lets go of the images of the size before
      resident = Resident(sized)
      step, batches = make_step(resident), resident.train_batches
    else:
      step = step or make_step(None)
      batches = functools.partial(data.train_batches, sized)
    for batch in batches(first, stretch.end - first, **hosts):
      yield step, batch

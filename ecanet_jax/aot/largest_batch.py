"""The largest batch whose program fits the chips."""

from collections.abc import Callable

from ecanet_jax.aot.program import DoesNotFit, Program
from ecanet_jax.aot.topologies import chip_of

UNITS = (128, 8, 1)  # images a chip; smaller ones where a larger one does not fit


def largest_batch(
  compile_at: Callable[[int], Program], topology: str, rows: int, say: Callable[[str], None]
) -> Program | None:
  """Compiles a step with several batches; each takes as long as one compilation.

  Args:
    compile_at: compiles for a number of images over all chips; raises DoesNotFit.
    topology: that it compiles for.
    rows: chips times parts of a step; batches are multiples of it.
    say: is told of every batch.

  Returns:
    The program with the most images that fits: a multiple of 128 images a chip, or if 128 do not
    fit, of 8, or if 8 do not, of 1. None if a single one does not fit.
  """
  hbm, refused = chip_of(topology).hbm, 0
  for unit in UNITS:
    fits, too_large, best = 0, refused // unit, None  # in units; too_large = 0 is not known yet
    trial = max(too_large // 2, 1)
    while too_large != fits + 1:
      batch_size = trial * unit * rows
      try:
        best = compile_at(batch_size)
      except DoesNotFit as error:
        say(f'--config.batch_size={batch_size} {error}')
        too_large = trial
      else:
        peak, fits = best.memory['peak'], trial
        say(f'--config.batch_size={batch_size} fits: {peak / 1e9:.2f} of {hbm / 1e9:.2f} GB.')
      if too_large:
        trial = (fits + too_large) // 2
      else:  # in proportion to the memory; a compiler that computes again to save it has more room
        trial = max(int(fits * hbm / peak), fits + fits // 4 + 1)
    if best:
      return best
    refused = too_large * unit
  return None

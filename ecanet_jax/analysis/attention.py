"""The attention weights of a trained network on its evaluation images."""

import dataclasses
import functools
import json
from collections.abc import Iterator, Sequence

import numpy as np

from ecanet_jax.analysis.files import Arrays
from ecanet_jax.analysis.gates import BlockGates, collect, viewer
from ecanet_jax.analysis.run import Run
from ecanet_jax.analysis.statistics import Moments, Saturation

BOUNDED = ('sigmoid', 'hard_sigmoid')  # gates whose weights are between 0 and 1


@dataclasses.dataclass(frozen=True)
class RunGates:
  """The sums of one network.

  Attributes:
    path: of the weights.
    title: network and data set.
    kind: of the attention, such as 'eca'.
    gate: of the attention, such as 'sigmoid'.
    names: of the classes.
    images: their number.
    blocks: block -> its sums.
  """

  path: str
  title: str
  kind: str
  gate: str
  names: tuple[str, ...]
  images: int
  blocks: dict[str, BlockGates]

  def table(self) -> Iterator[tuple[str, dict[str, float]]]:
    """Each block with its shares of variance and its shares of saturated weights."""
    for block, gates in self.blocks.items():
      ours, chance, ends = gates.shares(), gates.by_chance(), gates.saturation.shares()
      if self.gate not in BOUNDED:
        ends = dict.fromkeys(ends, float('nan'))
      yield block, {
        'class_share': ours.omega_squared, 'by_chance': chance.omega_squared,
        'static_share': ours.static, **{f'near_{end}': share for end, share in ends.items()},
      }


def gates_of_run(run: Run, blocks: Sequence[str] = ()) -> RunGates:
  """Sums the attention weights of a network over its images.

  Args:
    run: network and images.
    blocks: names of blocks, ours or the papers'; () = all.

  Raises:
    UserError: the network has no attention, or no such block.
  """
  views = functools.partial(viewer(run.model, blocks), run.variables)
  sums = collect(views, run.batches('attention'), len(run.names))
  images = int(np.sum(next(iter(sums.values())).weights.count))
  spec = run.model.attention
  return RunGates(run.path, run.title, spec.kind, spec.gate, run.names, images, sums)


def to_arrays(runs: Sequence[RunGates]) -> dict[str, np.ndarray]:
  """All sums as arrays with names such as '0/blocks_2_5/weights/total', 0 being the run."""
  arrays = {}
  for number, run in enumerate(runs):
    about = {key: getattr(run, key) for key in ('path', 'title', 'kind', 'gate', 'images')}
    about |= {'names': run.names, 'blocks': list(run.blocks)}
    arrays[f'{number}/about'] = np.array(json.dumps(about))
    for block, gates in run.blocks.items():
      for name in ('weights', 'random', 'saturation'):
        for key, value in vars(getattr(gates, name)).items():
          arrays[f'{number}/{block}/{name}/{key}'] = np.asarray(value)
  return arrays


def from_arrays(arrays: Arrays) -> list[RunGates]:
  """What `to_arrays` was given."""
  runs = []
  while (key := f'{len(runs)}/about') in arrays:
    about = json.loads(str(arrays[key]))
    part = lambda block, name: {
      field.rpartition('/')[2]: value for field, value in arrays.items()
      if field.startswith(f'{len(runs)}/{block}/{name}/')
    }
    blocks = {
      block: BlockGates(
        Moments(**part(block, 'weights')), Moments(**part(block, 'random')),
        Saturation(**{key: int(value) for key, value in part(block, 'saturation').items()}),
      )
      for block in about.pop('blocks')
    }
    names = tuple(about.pop('names'))
    runs.append(RunGates(**about, names=names, blocks=blocks))
  return runs

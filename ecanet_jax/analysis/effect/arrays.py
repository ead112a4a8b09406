"""Scores as arrays of an .npz file, from which the pictures can be drawn again.

A score is three numbers: correct images, images with the unchanged answer, and all images.
"""

import dataclasses
import json
from collections.abc import Iterable, Sequence

import numpy as np

from ecanet_jax.analysis.effect.change import Score
from ecanet_jax.analysis.effect.pruning import Pruning
from ecanet_jax.analysis.effect.static import StaticAttention
from ecanet_jax.analysis.files import Arrays


def static_to_arrays(runs: Sequence[StaticAttention]) -> dict[str, np.ndarray]:
  """Arrays with names such as '0/constant', `[blocks, 3]`, 0 being the run."""
  arrays = {}
  for number, run in enumerate(runs):
    arrays[f'{number}/about'] = _text(path=run.path, title=run.title, blocks=run.blocks)
    arrays[f'{number}/reference'] = _numbers([run.reference])[0]
    arrays[f'{number}/constant'] = _numbers(run.constant)
    arrays[f'{number}/removed'] = _numbers(run.removed)
  return arrays


def static_from_arrays(arrays: Arrays) -> list[StaticAttention]:
  """What `static_to_arrays` was given."""
  runs = []
  while (key := f'{len(runs)}/about') in arrays:
    about, part = json.loads(str(arrays[key])), f'{len(runs)}/'
    runs.append(StaticAttention(
      about['path'], about['title'], _score(arrays[part + 'reference']), tuple(about['blocks']),
      *(tuple(map(_score, arrays[part + kind])) for kind in ('constant', 'removed')),
    ))
  return runs


def pruning_to_arrays(runs: Sequence[Pruning]) -> dict[str, np.ndarray]:
  """Arrays with names such as '0/random', `[orders, shares, 3]`, 0 being the run."""
  arrays = {}
  for number, run in enumerate(runs):
    arrays[f'{number}/about'] = _text(path=run.path, title=run.title, measures=tuple(run.scores))
    arrays[f'{number}/shares'] = np.array(run.shares)
    arrays[f'{number}/reference'] = _numbers([run.reference])[0]
    for measure, orders in run.scores.items():
      arrays[f'{number}/{measure}'] = np.stack([_numbers(scores) for scores in orders])
  return arrays


def pruning_from_arrays(arrays: Arrays) -> list[Pruning]:
  """What `pruning_to_arrays` was given."""
  runs = []
  while (key := f'{len(runs)}/about') in arrays:
    about, part = json.loads(str(arrays[key])), f'{len(runs)}/'
    runs.append(Pruning(
      about['path'], about['title'], _score(arrays[part + 'reference']),
      tuple(arrays[part + 'shares'].tolist()),
      {measure: tuple(tuple(map(_score, scores)) for scores in arrays[part + measure])
       for measure in about['measures']},
    ))
  return runs


def _text(**about) -> np.ndarray:
  return np.array(json.dumps(about))


def _numbers(scores: Iterable[Score]) -> np.ndarray:
  return np.array([dataclasses.astuple(score) for score in scores])


def _score(numbers: np.ndarray) -> Score:
  return Score(*map(int, numbers))

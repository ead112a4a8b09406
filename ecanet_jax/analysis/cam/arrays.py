"""Maps as arrays of an .npz file, from which the pictures can be drawn again."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from ecanet_jax.analysis.cam.deletion import Curves
from ecanet_jax.analysis.cam.explain import Explained

Photographs: TypeAlias = Sequence[tuple[str, Image.Image]]  # title, RGB
Runs: TypeAlias = Sequence[tuple[str, Sequence[Explained], Mapping[str, Any]]]  # as in draw_maps

VALUES = ('image', 'label', 'name', 'logit', 'probability', 'values', 'random_correlation')
LINES = ('share', 'deletion', 'insertion')
GEOMETRY = ('image_size', 'crop_fraction', 'crop_mode')  # of the preprocessing


def to_arrays(photographs: Photographs, runs: Runs) -> dict[str, np.ndarray]:
  """Arrays for `write_arrays`.

  `titles` and `photographs/0` (uint8 `[H, W, 3]`) are the photographs. `runs` are the networks'
  titles, and `runs/0/values` (float32 `[N, h, w]`) the maps of the first one.

  Args:
    photographs: title and image.
    runs: title, maps and preprocessing of each network.
  """
  arrays = {
    'titles': np.array([title for title, _ in photographs]),
    'runs': np.array([title for title, _, _ in runs]),
  }
  for number, (_, image) in enumerate(photographs):
    arrays[f'photographs/{number}'] = np.asarray(image)
  for number, (_, entries, data) in enumerate(runs):
    prefix = f'runs/{number}/'
    geometry = {key: data[key] for key in GEOMETRY if key in data}
    arrays[f'{prefix}preprocessing'] = np.array(json.dumps(geometry))
    for key in VALUES:
      arrays[prefix + key] = np.stack([np.asarray(getattr(entry, key)) for entry in entries])
    if entries[0].curves is not None:
      for key in LINES:
        arrays[prefix + key] = np.stack([getattr(entry.curves, key) for entry in entries])
  return arrays


def from_arrays(arrays: Mapping[str, np.ndarray]) -> tuple[Photographs, Runs]:
  """The arguments of `to_arrays`."""
  photographs = [
    (str(title), Image.fromarray(arrays[f'photographs/{number}']))
    for number, title in enumerate(arrays['titles'])
  ]
  runs = []
  for number, title in enumerate(arrays['runs']):
    own = {
      key: arrays[f'runs/{number}/{key}'] for key in (*VALUES, *LINES)
      if f'runs/{number}/{key}' in arrays
    }
    entries = []
    for row in range(len(own['image'])):
      image, label, name, logit, probability, values, correlation = (
        own[key][row] for key in VALUES
      )
      lines = Curves(*(own[key][row] for key in LINES)) if LINES[0] in own else None
      entries.append(Explained(
        int(image), int(label), str(name), float(logit), float(probability), values, lines,
        float(correlation),
      ))
    runs.append((str(title), entries, json.loads(str(arrays[f'runs/{number}/preprocessing']))))
  return photographs, runs

"""An evaluation as files: a JSON file with all metrics, and two pictures."""

import json
import os
from collections.abc import Sequence
from typing import Any

from ecanet_jax.evaluation.calibration import draw_reliability
from ecanet_jax.evaluation.confusion import draw_confusion
from ecanet_jax.runtime import paths


def write_report(
  path: str | os.PathLike, metrics: dict[str, Any], names: Sequence[str] | None, title: str
) -> list[paths.Path]:
  """Writes the JSON file and, beside it, NAME.reliability.png and NAME.confusion.png.

  Args:
    path: of the JSON file; its folder is created.
    metrics: of the task, with any other keys.
    names: of all classes; None = numbers are shown.
    title: of the pictures.

  Returns:
    The written files. Images with several labels have no confusion, and where all of them count
    no reliability.
  """
  path = paths.to_path(path)
  paths.make_directory(path.parent)
  if names and 'classes' in metrics:
    named = [{**entry, 'name': names[entry['class']]} for entry in metrics['classes']]
    metrics = {**metrics, 'classes': named}
  paths.write_whole(path, _readable(metrics))
  written = [path]
  if 'bins' in metrics:
    written.append(path.with_suffix('.reliability.png'))
    draw_reliability(metrics, written[-1], title)
  if 'confused' in metrics:
    written.append(path.with_suffix('.confusion.png'))
    many = max(entry['class'] for entry in metrics['classes']) + 1
    draw_confusion(metrics, names or [str(number) for number in range(many)], written[-1], title)
  return written


def _readable(metrics: dict[str, Any]) -> str:
  """JSON with one line per key, and per element of a list of classes or pairs."""
  parts = []
  for key, value in metrics.items():
    text = json.dumps(value)
    if isinstance(value, list) and value and isinstance(value[0], list | dict):
      text = '[\n    ' + ',\n    '.join(json.dumps(item) for item in value) + '\n  ]'
    parts.append(f'  {json.dumps(key)}: {text}')
  return '{\n' + ',\n'.join(parts) + '\n}\n'

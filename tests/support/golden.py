"""Writes the fingerprints of all parameter trees: python -m tests.support.golden"""

import hashlib
import json
import pathlib
from collections.abc import Mapping

from ecanet_jax import list_models
from ecanet_jax.models.table import count_network

FOLDER = pathlib.Path(__file__).parent.parent / 'golden'


def fingerprint(shapes: Mapping[str, tuple[int, ...]]) -> str:
  """How many arrays there are, and a digest of every array's path and shape."""
  lines = '\n'.join(f'{path} {list(shape)}' for path, shape in sorted(shapes.items()))
  return f'{len(shapes)} arrays, {hashlib.sha256(lines.encode()).hexdigest()[:16]}'


def main() -> None:
  prints = {name: fingerprint(count_network(name).shapes) for name in list_models()}
  (FOLDER / 'fingerprints.json').write_text(json.dumps(prints, indent=2) + '\n')


if __name__ == '__main__':
  main()

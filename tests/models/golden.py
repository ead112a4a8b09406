"""Writes the fingerprints of all parameter trees: python -m tests.models.golden"""

import json
import pathlib

import jax
import jax.numpy as jnp

from ecanet_jax import create_model, list_models

FOLDER = pathlib.Path(__file__).parent.parent / 'golden'


def fingerprint(name: str) -> dict[str, list[int]]:
  """Every variable's path and shape."""
  model = create_model(name)
  image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
  shapes = jax.eval_shape(lambda k, x: model.init(k, x, train=False), jax.random.key(0), image)
  leaves = jax.tree_util.tree_leaves_with_path(shapes)
  return {'/'.join(key.key for key in path): list(leaf.shape) for path, leaf in leaves}


def main() -> None:
  for name in list_models():
    lines = [f'"{path}": {json.dumps(shape)}' for path, shape in fingerprint(name).items()]
    (FOLDER / f'{name}.json').write_text('{\n' + ',\n'.join(lines) + '\n}\n')


if __name__ == '__main__':
  main()

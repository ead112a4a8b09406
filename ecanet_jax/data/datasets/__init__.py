"""TFDS builders that live in this repository, by name; `prepare` imports the one it needs."""

import importlib

BUILDERS = {'digits': 'ecanet_jax.data.datasets.digits'}


def register(name: str) -> None:
  """Makes TFDS know the data set `name` when its builder lives here; other names are left alone."""
  if name in BUILDERS:
    importlib.import_module(BUILDERS[name])

"""TFDS builders of this repository, by name; `prepare` imports the one that it needs."""

import importlib

BUILDERS = {'digits': 'ecanet_jax.data.tfds_builders.digits'}


def register(name: str) -> None:
  """Makes TFDS know the data set `name` if its builder is here; does nothing for others."""
  if name in BUILDERS:
    importlib.import_module(BUILDERS[name])

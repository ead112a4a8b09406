"""Adds the recipes of configs/ to the package as ecanet_jax.configs; see pyproject.toml."""

from setuptools import find_packages, setup

setup(
  packages=[*find_packages(include=['ecanet_jax', 'ecanet_jax.*']), 'ecanet_jax.configs'],
  package_dir={'ecanet_jax.configs': 'configs'},
)

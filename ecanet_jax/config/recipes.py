"""The folder of the recipes, and one recipe as the base of another."""

import pathlib
import runpy

from ml_collections import config_dict

from ecanet_jax.runtime.errors import UserError, closest

_PACKAGE = pathlib.Path(__file__).parents[1]


def folder() -> pathlib.Path:
  """The folder of the recipes: ecanet_jax/configs as installed, configs/ in a checkout."""
  installed = _PACKAGE / 'configs'
  return installed if installed.is_dir() else _PACKAGE.parent / 'configs'


def names() -> list[str]:
  """The recipes' names, sorted; 'eca_b0' is eca_b0.py."""
  return sorted(path.stem for path in folder().glob('[!_]*.py'))


def recipe(name: str, *arguments: str) -> config_dict.ConfigDict:
  """The config of a recipe, as the base of another one.

  Args:
    name: of the recipe, such as 'eca_resnet'.
    *arguments: the part behind the colon of `--config=configs/NAME.py:ARGUMENT`.

  Raises:
    UserError: there is no such recipe.
  """
  if name not in names():
    raise UserError(f'no recipe {name!r}.{closest(name, names())} Known: {", ".join(names())}.')
  return runpy.run_path(str(folder() / f'{name}.py'))['get_config'](*arguments)

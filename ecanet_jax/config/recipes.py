"""The recipes: their folder and names, and one recipe as the base of another."""

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


def find(config: str) -> str:
  """The file of `--config`, with the argument behind the colon.

  Args:
    config: the path of a file; or 'eca_b0', 'eca_b0.py' or 'configs/eca_b0.py' for a recipe of the
      package. A file wins. Behind a colon it may have an argument: 'transfer:cars196'.

  Raises:
    UserError: there is no such file and no such recipe.
  """
  path, colon, argument = config.partition(':')
  if not pathlib.Path(path).is_file():
    name = path.removeprefix('configs/').removesuffix('.py')
    if name not in names():
      near = closest(pathlib.PurePath(name).name, names())
      raise UserError(f'no config file {path!r}.{near} Recipes: {", ".join(names())}.')
    path = str(folder() / f'{name}.py')
  return f'{path}{colon}{argument}'


def recipe(name: str, *arguments: str) -> config_dict.ConfigDict:
  """The config of a recipe, as the base of another one.

  Args:
    name: of the recipe, such as 'eca_resnet'.
    *arguments: the part behind the colon of `--config=NAME:ARGUMENT`.

  Raises:
    UserError: there is no such recipe.
  """
  if name not in names():
    raise UserError(f'no recipe {name!r}.{closest(name, names())} Known: {", ".join(names())}.')
  return runpy.run_path(str(folder() / f'{name}.py'))['get_config'](*arguments)

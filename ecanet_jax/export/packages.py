"""Packages that a format needs and that a plain installation lacks."""

import importlib
from types import ModuleType

from ecanet_jax.runtime.errors import UserError


def require(module: str, package: str, extra: str) -> ModuleType:
  """Imports a module.

  Args:
    module: its name.
    package: the name under which pip installs it.
    extra: of ecanet_jax, which contains it.

  Raises:
    UserError: it is not installed.
  """
  try:
    return importlib.import_module(module)
  except ImportError as error:
    raise UserError(
      f"the package {package} is not installed: pip install 'ecanet_jax[{extra}]' (or pip install "
      f'{package}).'
    ) from error

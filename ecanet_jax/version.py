"""The versions of this package and of others, readable without importing JAX."""

import importlib.metadata

__version__ = '0.1.0'


def installed(package: str) -> str:
  """The installed version of a package, '' without one."""
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return ''

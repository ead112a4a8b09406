"""Imports of libraries that import others, which take seconds and are not needed."""

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def as_if_missing(package: str) -> Iterator[None]:
  """Inside, an import of the package fails as if it were not installed; if it is imported, not.

  For a library that does without it. Afterwards it can be imported.
  """
  hide = package not in sys.modules
  if hide:
    sys.modules[package] = None
  try:
    yield
  finally:
    if hide:
      del sys.modules[package]

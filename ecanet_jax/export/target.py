"""The folder of an export: all files of it or none."""

import contextlib
import pathlib
import shutil
from collections.abc import Iterator

from ecanet_jax.export.manifest import NAME
from ecanet_jax.runtime.errors import UserError


@contextlib.contextmanager
def replaced_folder(out: pathlib.Path) -> Iterator[pathlib.Path]:
  """An empty folder beside `out`, which takes its place at the end; on an error `out` stays.

  Raises:
    UserError: `out` holds something else than an export.
  """
  new, old = (out.with_name(f'.{out.name}.{word}') for word in ('new', 'old'))
  if old.exists() and not out.exists():
    old.rename(out)  # an export that was killed between its two renames
  check_target(out)
  for path in (new, old):
    shutil.rmtree(path, ignore_errors=True)
  new.mkdir(parents=True)
  try:
    yield new
  except BaseException:
    shutil.rmtree(new, ignore_errors=True)
    raise
  if out.exists():
    out.rename(old)
  new.rename(out)
  shutil.rmtree(old, ignore_errors=True)


def check_target(out: pathlib.Path) -> None:
  """Raises UserError unless `out` is new, empty, or an export."""
  if out.exists() and not (out / NAME).exists() and (
    not out.is_dir() or any(out.iterdir())
  ):
    raise UserError(f'{out} holds something else than an export; give a new or an empty directory.')

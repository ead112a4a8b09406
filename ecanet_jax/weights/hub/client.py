"""Weights folders on the Hugging Face hub: fetched by name, and pushed on request.

Needs `huggingface_hub`, which `pip install "ecanet-jax[hub]"` brings. Nothing else in this package
opens a connection for weights, and this only for a name that begins with hf-hub: or for --push.
"""

import os

from ecanet_jax.runtime.errors import UserError

PREFIX = 'hf-hub:'
WANTED = ('config.json', 'model.safetensors')  # nothing that could be code


def is_hub_name(path: str | os.PathLike) -> bool:
  """The name is one of the hub, such as 'hf-hub:timm/resnet18.a1_in1k'."""
  return str(path).startswith(PREFIX)


def fetch_folder(name: str) -> str:
  """Downloads a weights folder, or takes the copy of a former download.

  Args:
    name: 'hf-hub:OWNER/NAME' or 'hf-hub:OWNER/NAME@REVISION'.

  Returns:
    The local directory.

  Raises:
    UserError: not such a name, nothing there, no connection, or huggingface_hub is not installed.
  """
  repository, _, revision = name.removeprefix(PREFIX).partition('@')
  _check(repository, f'{PREFIX}OWNER/NAME')
  hub = _hub(name)
  try:
    return hub.snapshot_download(repository, revision=revision or None, allow_patterns=WANTED)
  except (OSError, ValueError) as error:  # the hub's own errors are both kinds
    raise UserError(f'{name} cannot be fetched: {_line(error)}') from error


def push_folder(directory: str | os.PathLike, repository: str) -> str:
  """Uploads a weights folder; the repository is made if it is not there.

  Args:
    directory: what `write_folder` wrote.
    repository: 'OWNER/NAME', for which `hf auth login` was done.

  Returns:
    The address of the upload.

  Raises:
    UserError: not such a name, no permission, no connection, or huggingface_hub is not installed.
  """
  _check(repository, 'OWNER/NAME')
  hub = _hub(repository)
  try:
    api = hub.HfApi()
    api.create_repo(repository, exist_ok=True)
    done = api.upload_folder(repo_id=repository, folder_path=str(directory))
  except (OSError, ValueError) as error:
    raise UserError(
      f'{directory} is written, but could not be pushed to {repository}: {_line(error)}'
    ) from error
  return str(done.commit_url)


def check_repository(repository: str) -> None:
  """Returns if a push can be tried: a name of the right form, and huggingface_hub is there.

  Raises:
    UserError: otherwise.
  """
  _check(repository, 'OWNER/NAME')
  _hub(repository)


def _check(repository: str, form: str) -> None:
  if len(parts := repository.split('/')) != 2 or not all(parts):
    raise UserError(f'{repository!r} is not a name of the hub; it must be {form}.')


def _hub(what: str):
  try:
    import huggingface_hub
  except ImportError as error:
    raise UserError(f'{what} needs huggingface_hub: pip install "ecanet-jax[hub]".') from error
  return huggingface_hub


def _line(error: Exception) -> str:
  return ' '.join(str(error).split())[:200] or type(error).__name__

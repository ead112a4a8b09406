"""Downloads weights folders from the Hugging Face hub, and uploads them.

Needs `huggingface_hub` (`pip install "ecanet-jax[hub]"`). No other module opens a network
connection for weights. This one does so only for a name that begins with hf-hub:, and for --push.
"""

import functools
import os

from ecanet_jax.runtime.errors import UserError, one_line

PREFIX = 'hf-hub:'
WANTED = ('config.json', 'model.safetensors')
# Downloaded where there is no model.safetensors. No other file of a repository ever is.
OTHERS = (
  'model.safetensors.index.json', 'model-*-of-*.safetensors', 'pytorch_model.bin',
  'pytorch_model.bin.index.json', 'pytorch_model-*-of-*.bin',
)


def is_hub_name(path: str | os.PathLike) -> bool:
  """Whether a path is a name of the hub, such as 'hf-hub:timm/resnet18.a1_in1k'."""
  return str(path).startswith(PREFIX)


def fetch_folder(name: str) -> str:
  """Downloads a weights folder, or finds it in the cache.

  Args:
    name: 'hf-hub:OWNER/NAME' or 'hf-hub:OWNER/NAME@REVISION'.

  Returns:
    The local directory.

  Raises:
    UserError: the name has another form, there is no such folder, there is no connection, or
      huggingface_hub is not installed.
  """
  repository, _, revision = name.removeprefix(PREFIX).partition('@')
  _check(repository, f'{PREFIX}OWNER/NAME')
  hub = _hub(name)
  try:
    download = functools.partial(hub.snapshot_download, repository, revision=revision or None)
    folder = download(allow_patterns=WANTED)
    if not os.path.exists(os.path.join(folder, WANTED[-1])):
      folder = download(allow_patterns=(WANTED[0], *OTHERS))
    return folder
  except (OSError, ValueError) as error:  # the hub's own errors are both kinds
    raise UserError(
      f'{name} cannot be downloaded: {one_line(error)}; check the name, the connection and '
      '`hf auth login`.'
    ) from error


def push_folder(directory: str | os.PathLike, repository: str) -> str:
  """Uploads a weights folder, and creates the repository if it does not exist.

  Args:
    directory: written by `write_folder`.
    repository: 'OWNER/NAME'; `hf auth login` gives the permission.

  Returns:
    The URL of the commit.

  Raises:
    UserError: the name has another form, there is no permission or no connection, or
      huggingface_hub is not installed.
  """
  _check(repository, 'OWNER/NAME')
  hub = _hub(repository)
  try:
    api = hub.HfApi()
    api.create_repo(repository, exist_ok=True)
    done = api.upload_folder(repo_id=repository, folder_path=str(directory))
  except (OSError, ValueError) as error:
    raise UserError(
      f'{directory} is written, but could not be pushed to {repository}: {one_line(error)}; check '
      'the name and `hf auth login`.'
    ) from error
  return str(done.commit_url)


def check_repository(repository: str) -> None:
  """Checks what can be checked before an upload.

  Raises:
    UserError: the name has another form, or huggingface_hub is not installed.
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

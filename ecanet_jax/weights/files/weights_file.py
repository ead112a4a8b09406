"""Finds the file of weights in a directory, in the order in which timm looks for it."""

from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.log import log

# timm/models/_hub.py: _PREFERRED_FILES and _EXT_PRIORITY; the indexes are of huggingface_hub.
PREFERRED = (
  'model.safetensors', 'model.safetensors.index.json', 'pytorch_model.bin',
  'pytorch_model.bin.index.json', 'pytorch_model.pth', 'model.pth',
)
ENDINGS = ('.safetensors', '.pth', '.pth.tar', '.pt', '.bin', '.ckpt')


def find_weights(directory: paths.Path) -> 'paths.Path | None':
  """Returns the file of weights of a directory; None if it has none.

  Raises:
    UserError: there are several, and none has the usual name.
  """
  with paths.answers(directory):
    for name in PREFERRED:
      if (directory / name).is_file():
        others = [other for other in PREFERRED if (directory / other).is_file()]
        if len(others) > 1:
          log.info('%s: read %s, one of %s', directory, name, ', '.join(others))
        return directory / name
    files = sorted(path.name for path in directory.iterdir() if path.is_file())
  for ending in ENDINGS:
    found = [name for name in files if name.endswith(ending)]
    if len(found) > 1:
      raise UserError(
        f'{directory} holds {len(found)} files of weights ({", ".join(found[:3])}); give one of '
        f'them instead: {directory / found[0]}'
      )
    if found:
      return directory / found[0]
  return None

"""Small convnets with channel attention in JAX: networks, training, conversion to PyTorch."""

from ecanet_jax.models import create_model, list_models
from ecanet_jax.version import __version__

__all__ = ['__version__', 'create_model', 'list_models', 'load_pretrained']


def __getattr__(name: str):
  if name == 'load_pretrained':  # on demand: it imports the checkpoints' library
    from ecanet_jax.weights.source import load_pretrained

    return load_pretrained
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

"""Small convnets with channel attention in JAX: networks, training, conversion to PyTorch."""

from ecanet_jax.models import create_model, list_models
from ecanet_jax.version import __version__

__all__ = ['__version__', 'create_model', 'list_models']

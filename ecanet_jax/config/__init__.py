"""The configuration: every key once, and what is done with whole configurations."""

from ecanet_jax.config.recipes import recipe
from ecanet_jax.config.schema import get_config

__all__ = ['get_config', 'recipe']

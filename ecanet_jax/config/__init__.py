"""The configuration: every key once, and functions of whole configs."""

from ecanet_jax.config.recipes import recipe
from ecanet_jax.config.schema import check, get_config

__all__ = ['check', 'get_config', 'recipe']

"""The configuration: every key once, and functions of whole configs.

A recipe imports this module alone; it has `UserError` and `lookup` for a recipe's own argument.
"""

from ecanet_jax.config.recipes import recipe
from ecanet_jax.config.schema import check, get_config
from ecanet_jax.runtime.errors import UserError, lookup

__all__ = ['UserError', 'check', 'get_config', 'lookup', 'recipe']

"""Networks by name: each published one is a record, made by its family's builder."""

from ecanet_jax.models.registry import (
    Network,
    create_from_config,
    create_model,
    list_models,
    network,
)

__all__ = ['Network', 'create_from_config', 'create_model', 'list_models', 'network']

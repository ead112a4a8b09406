"""Recipes: one short file per published training; ecanet_jax/config/schema.py has every key."""

"""Recipes: one short file per published training; base.py holds every key."""

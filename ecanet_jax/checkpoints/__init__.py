"""Checkpoints: save, restore, verify with SHA-256, compare with the running network."""

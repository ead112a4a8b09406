"""Checkpoints: saved, restored, checked with SHA-256, compared with the running network."""

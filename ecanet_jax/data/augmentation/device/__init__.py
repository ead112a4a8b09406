"""Augmentation of whole batches in the compiled step."""

"""Augmentation of whole batches in the compiled training step."""

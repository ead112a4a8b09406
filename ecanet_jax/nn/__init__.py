"""Layers, padding, pooling, initializers and attention; each layer in the form that suits a TPU."""

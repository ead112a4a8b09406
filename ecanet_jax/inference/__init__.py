"""A trained network on pictures: what they show, their features, a contact sheet of them."""

from ecanet_jax.inference.classifier import Classifier, Prediction, load

__all__ = ['Classifier', 'Prediction', 'load']

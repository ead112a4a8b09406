"""Weights in other code and files: names, layouts, conversion, timm folders and the hub."""

from ecanet_jax.weights.convert import from_torch, to_torch
from ecanet_jax.weights.files.formats import read_state_dict, write_state_dict
from ecanet_jax.weights.hub.hub_folder import read_folder, write_folder
from ecanet_jax.weights.loaded_weights import LoadedWeights, load_pretrained, read_weights
from ecanet_jax.weights.verify import Verification, verify

__all__ = [
  'LoadedWeights',
  'Verification',
  'from_torch',
  'load_pretrained',
  'read_folder',
  'read_state_dict',
  'read_weights',
  'to_torch',
  'verify',
  'write_folder',
  'write_state_dict',
]

"""The same network elsewhere: its names and layouts in PyTorch code, files and hub folders."""

from ecanet_jax.weights.convert import from_torch, to_torch
from ecanet_jax.weights.files.formats import read_state_dict, write_state_dict
from ecanet_jax.weights.hub.hub_folder import read_folder, write_folder
from ecanet_jax.weights.source import Source, load_pretrained, read_source
from ecanet_jax.weights.verify import Verification, verify

__all__ = [
  'Source',
  'Verification',
  'from_torch',
  'load_pretrained',
  'read_folder',
  'read_source',
  'read_state_dict',
  'to_torch',
  'verify',
  'write_folder',
  'write_state_dict',
]

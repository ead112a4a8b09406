"""Fits trained weights to images of another number of channels: grey, or more than RGB."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from ecanet_jax.models.registry import create_from_config
from ecanet_jax.nn.parameter_shapes import parameter_shapes
from ecanet_jax.runtime.errors import UserError


def adapt_stem(
  section: Mapping[str, Any], variables: Mapping[str, Any], in_chans: int
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Changes the kernel that sees the images, and keeps all other arrays.

  For 1 channel it is summed over RGB, so a grey image gives what its RGB form gives. For another
  number it is repeated (R, G, B, R, ...) and multiplied by 3 / in_chans, so that sums stay as large
  (timm, models/_manipulate.py: adapt_input_conv).

  Args:
    section: a recipe's `model` section.
    variables: {'params', 'batch_stats'} of that network.
    in_chans: channels of the new images.

  Returns:
    The `model` section with the new number of channels, and the variables.

  Raises:
    UserError: the network is not one for RGB, or it has other arrays that depend on the channels.
  """
  found = create_from_config(section).in_chans
  section = {**section, 'in_chans': in_chans}
  model = create_from_config(section)
  if found == in_chans:
    return section, dict(variables)
  if found != 3:
    raise UserError(
      f'in_chans={in_chans}: these weights are for {found} channels, and only those for RGB can be '
      'changed; leave in_chans out.'
    )
  expected, flat = parameter_shapes(model), traverse_util.flatten_dict(dict(variables), sep='/')
  for path, kernel in flat.items():
    if path not in expected or np.shape(kernel) == expected[path]:
      continue
    if np.ndim(kernel) != 4 or np.shape(kernel)[2] != 3:
      raise UserError(
        f'in_chans={in_chans}: {path} depends on the channels of the images and is no kernel of a '
        'convolution; leave in_chans out.'
      )
    flat[path] = _adapt(np.asarray(kernel), in_chans)
  return section, traverse_util.unflatten_dict(flat, sep='/')


def _adapt(kernel: np.ndarray, in_chans: int) -> np.ndarray:
  """Returns the kernel `[kh, kw, in_chans, O]` for a kernel `[kh, kw, 3, O]`."""
  if in_chans == 1:
    return kernel.sum(2, keepdims=True)
  repeated = np.tile(kernel, (1, 1, -(-in_chans // 3), 1))[:, :, :in_chans]
  return repeated * np.float32(3 / in_chans)

"""The networks of the table, and their files for the runtimes."""

import dataclasses
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ecanet_jax.export.formats import FORMATS
from ecanet_jax.export.forward import forward_of
from ecanet_jax.export.options import ExportOptions
from ecanet_jax.inference.classifier import Classifier
from ecanet_jax.models import create_model
from ecanet_jax.ops.backend import select_backend

PRESET = 'tf'  # the padding of all rows: no other operator in a file for it
CALIBRATION = 4  # images of noise that set the ranges of int8


@dataclasses.dataclass(frozen=True)
class Row:
  """A network of the table.

  Attributes:
    label: the slides' name.
    phone: the slides' milliseconds on a phone; None = it is not in them.
  """

  label: str
  phone: float | None = None


# Slides "A Compact version of EfficientNet": performance, ablations on stage 2 and on stage 3.
ROWS = {
  'efficientnet_b0': Row('B0', 53.94),
  'eca_efficientnet_b0': Row('ECA-B0'),
  'tf_efficientnet_lite0': Row('lite (stage 2: MBConv1)', 37.69),
  'b0_stage2_dwconv3x3': Row('stage 2: DWConv3x3', 37.39),
  'b0_stage2_conv3x3': Row('stage 2: Conv3x3', 36.20),
  'b0_stage2_conv1x1': Row('stage 2: Conv1x1', 35.93),
  'b0_stage2_remove': Row('stage 2: Remove (stage 3: MBConv1)', 34.39),
  'b0_conv131': Row('stage 3: Conv131', 31.64),
  'b0_compact': Row('compact (stage 3: Conv31)', 31.17),
}
# Name of the ratio -> two networks.
RATIOS = {
  'B0 / lite': ('efficientnet_b0', 'tf_efficientnet_lite0'),
  'ECA-B0 / B0': ('eca_efficientnet_b0', 'efficientnet_b0'),
  'lite / compact': ('tf_efficientnet_lite0', 'b0_compact'),
  'stage 2: DWConv3x3 / MBConv1': ('b0_stage2_dwconv3x3', 'tf_efficientnet_lite0'),
  'stage 2: Conv3x3 / MBConv1': ('b0_stage2_conv3x3', 'tf_efficientnet_lite0'),
  'stage 2: Conv1x1 / MBConv1': ('b0_stage2_conv1x1', 'tf_efficientnet_lite0'),
  'stage 2: Remove / MBConv1': ('b0_stage2_remove', 'tf_efficientnet_lite0'),
  'stage 3: Conv131 / MBConv1': ('b0_conv131', 'b0_stage2_remove'),
  'stage 3: Conv31 / MBConv1': ('b0_compact', 'b0_stage2_remove'),
}


def backend() -> str:
  """The backend that inference takes here, a name of `ops.BACKENDS`."""
  return select_backend('auto', jax.devices())


def classifier(name: str, image_size: int) -> Classifier:
  """A network with its first random weights, computed by `backend`."""
  model = create_model(name, preset=PRESET, backend=backend())
  images = jnp.zeros((1, image_size, image_size, model.in_chans))
  variables = jax.jit(lambda key: model.init(key, images, train=False))(jax.random.key(0))
  data = {'mean': [0.5] * 3, 'std': [0.25] * 3, 'image_size': image_size}
  return Classifier(model, variables, data, name=name)


def images(image_size: int, count: int = 1) -> np.ndarray:
  """Images of noise, float32 `[count, H, W, 3]`; always the same."""
  shape = (count, image_size, image_size, 3)
  return np.random.default_rng(0).standard_normal(shape, np.float32)


def write_files(
  names: Sequence[str], formats: Sequence[str], image_size: int, folder: pathlib.Path
) -> None:
  """Writes NETWORK.FORMAT of all networks to a folder; each takes one image."""
  if not formats:
    return
  options = ExportOptions(batch=1, calibration=images(image_size, CALIBRATION))
  for name in names:
    forward = forward_of(classifier(name, image_size))
    for each in formats:
      FORMATS[each].write(forward, folder / f'{name}.{each}', options)

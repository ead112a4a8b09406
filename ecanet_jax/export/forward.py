"""A trained network as a plain function of images."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ecanet_jax.export.static_gates import Gates, fold_gates, without_gates
from ecanet_jax.inference.classifier import Classifier
from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.models.count import count
from ecanet_jax.models.fold import fold_batch_norm
from ecanet_jax.runtime.errors import lookup

PREPROCESS = {
  'beside': 'the caller normalises: (pixels / 255 - mean) / std',
  'inside': 'the file takes pixels from 0 to 255',
}


@dataclasses.dataclass(frozen=True)
class Forward:
  """A network for inference, with BatchNorm folded into the convolutions.

  Attributes:
    name: of the network.
    apply: maps images, float32 `[B, H, W, C]`, to logits, float32 `[B, K]`. The weights are
      constants in it.
    image_size: height and width of the images in pixels.
    channels: of the images.
    num_classes: K; 0 = the output is the pooled features.
    classes: their names, or None.
    multi_label: whether a class's probability is the sigmoid of its logit, not the softmax.
    preprocessing: mean, std, interpolation, crop_fraction and image_size.
    preprocess: a name of PREPROCESS; 'inside': images are in 0..255, 'beside': normalised.
    backend: which operations compute it, a name of `ops.BACKENDS`.
    parameters: number of values in the weights.
    convolutions: number of convolutions in it.
  """

  name: str
  apply: Callable[[jax.Array], jax.Array]
  image_size: int
  channels: int
  num_classes: int
  classes: tuple[str, ...] | None
  multi_label: bool
  preprocessing: Mapping[str, Any]
  preprocess: str
  backend: str
  parameters: int
  convolutions: int

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of an image."""
    return (self.image_size, self.image_size, self.channels)


def forward_of(
  classifier: Classifier, *, preprocess: str = 'beside', static_attention: Gates | None = None,
  backend: str = 'portable', image_size: int = 0,
) -> Forward:
  """Makes the function of a trained network.

  Args:
    classifier: from `inference.classifier.load`.
    preprocess: a name of PREPROCESS.
    static_attention: weights of blocks' attention that are folded as constants; see
      `static_gates`.
    backend: a name of `ops.BACKENDS`.
    image_size: in pixels; 0 = that of the preprocessing.

  Raises:
    UserError: an unknown `preprocess`, or a network of another image size.
  """
  lookup(PREPROCESS, preprocess, '--preprocess')
  data = dict(classifier.preprocessing)
  size = image_size or data['image_size']
  data['image_size'] = size
  model, variables = float32_model(classifier, backend), jax.device_get(dict(classifier.variables))
  model, variables = fold_batch_norm(model, variables)
  constants: Gates = {}
  if static_attention:
    variables, constants = fold_gates(model, variables, static_attention)
  scale, shift = _normalisation(data, preprocess)
  gates = lambda: without_gates(constants) if static_attention else contextlib.nullcontext()

  def apply(images: jax.Array) -> jax.Array:
    if preprocess == 'inside':
      images = images * scale + shift
    with gates():
      return model.apply(variables, images, train=False)

  with gates():
    counted = count(model, size)
  convolutions = counted.layers()
  if backend == 'portable':
    convolutions += counted.layers('channel_convolutions')
  return Forward(
    classifier.name, apply, size, model.in_chans, model.num_classes, classifier.label_names,
    classifier.multi_label, data, preprocess, backend,
    sum(leaf.size for leaf in jax.tree.leaves(variables)), convolutions,
  )


def float32_model(classifier: Classifier, backend: str = 'xla') -> ConvNet:
  """The classifier's network, which computes in float32 by this backend."""
  return classifier.model.clone(backend=backend, dtype=jnp.float32)


def _normalisation(data: Mapping[str, Any], preprocess: str) -> tuple[np.ndarray, np.ndarray]:
  """Returns the factor and shift, `[1, 1, 1, C]`, of pixels in 0..255."""
  mean, std = (np.asarray(data[key], np.float64) for key in ('mean', 'std'))
  return tuple(
    value.astype(np.float32)[None, None, None] for value in (1 / (255 * std), -mean / std)
  )

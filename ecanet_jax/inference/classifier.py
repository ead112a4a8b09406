"""A trained network with its preprocessing and the names of its classes."""

import concurrent.futures
import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from ecanet_jax.data.label_names import published_for, wnids_as_names
from ecanet_jax.data.preprocessing import default_preprocessing, find_preprocessing
from ecanet_jax.detection.from_config import is_detector
from ecanet_jax.inference import images as pictures
from ecanet_jax.inference.images import Picture
from ecanet_jax.models import network
from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.ops import select_backend
from ecanet_jax.runtime.accelerators import silence_libtpu
from ecanet_jax.runtime.errors import UserError, lookup
from ecanet_jax.runtime.log import log
from ecanet_jax.weights.detectors.backbone import backbone_of
from ecanet_jax.weights.files.formats import WRAPPERS
from ecanet_jax.weights.loaded_weights import LoadedWeights, read_weights

BATCH_SIZE = 32
READERS = 8  # threads that read and decode
IMAGENET_CLASSES = 1000


@dataclasses.dataclass(frozen=True)
class Prediction:
  """One class of a picture.

  Attributes:
    label: the number of the class.
    name: its name; 'class 7' where the names are not known.
    probability: of the softmax over all classes; in a multi-label network the class's sigmoid.
  """

  label: int
  name: str
  probability: float


class Classifier:
  """A network that says what is on a picture; made by `load`.

  Attributes:
    model: the flax module.
    variables: {'params', 'batch_stats'}, JAX arrays.
    label_names: a name for each class, or None.
    preprocessing: mean, std, interpolation, crop_fraction, image_size and perhaps exif.
    multi_label: whether a picture has any number of labels. Each class then has a probability of
      its own.
    name: of the network; '' = not known.
  """

  def __init__(
    self, model: ConvNet, variables: Mapping[str, Any], preprocessing: Mapping[str, Any],
    label_names: tuple[str, ...] | None = None, *, multi_label: bool = False, name: str = '',
  ):
    """Places the weights on the first device; the arguments are the attributes."""
    self.model, self.variables = model, jax.device_put(dict(variables))
    self.preprocessing, self.label_names = dict(preprocessing), label_names
    self.multi_label, self.name = multi_label, name
    fastest = model.clone(backend=select_backend('auto', jax.devices()[:1]))
    self._logits = jax.jit(functools.partial(fastest.apply, train=False))
    pooled = fastest.clone(num_classes=0)
    self._features = jax.jit(functools.partial(pooled.apply, train=False))

  def transform(self, picture: Picture) -> np.ndarray:
    """Prepares a picture as the evaluation does.

    Args:
      picture: a path, local or gs://; the bytes of a file; an image of Pillow; or an array `[H, W]`
        or `[H, W, C]`, uint8, or floating point in 0..1.

    Returns:
      The network's input, float32 `[size, size, 3]`, normalised. `model.apply(variables, x[None],
      train=False)` gives the logits.

    Raises:
      UserError: it is no picture, or the file is missing or damaged.
    """
    data = self.preprocessing
    image = pictures.read_image(picture, data.get('exif', 'ignore'))
    image = pictures.resize_and_crop(image, data)
    return pictures.normalise(image, data)

  def predict(
    self, images: Iterable[Picture] | Picture, top: int = 5, batch_size: int = BATCH_SIZE
  ) -> list[list[Prediction]]:
    """Returns the most probable classes of each picture, the best first.

    Args:
      images: pictures as in `transform`, or a single one.
      top: how many classes.
      batch_size: pictures that are computed together.

    Raises:
      UserError: one of them is no picture, or the network has no classifier.
    """
    return [_value(found) for found in self.stream(images, top, batch_size)]

  def stream(
    self, images: Iterable[Picture] | Picture, top: int = 5, batch_size: int = BATCH_SIZE
  ) -> Iterator[list[Prediction] | UserError]:
    """Yields what `predict` returns, picture by picture; the error of one that cannot be read."""
    if not self.model.num_classes:
      raise UserError('this network has no classifier (num_classes=0); it has .features().')
    if top < 1:
      raise UserError(f'top={top} must be at least 1.')
    for logits in self._rows(self._logits, images, batch_size):
      yield logits if isinstance(logits, UserError) else self._best(logits, top)

  def logits(
    self, images: Iterable[Picture] | Picture, batch_size: int = BATCH_SIZE
  ) -> np.ndarray:
    """Returns the network's outputs, float32 `[N, classes]`; see `predict`."""
    return self._stacked(self._logits, images, batch_size)

  def features(
    self, images: Iterable[Picture] | Picture, batch_size: int = BATCH_SIZE
  ) -> np.ndarray:
    """Returns the pooled features, the classifier's input, float32 `[N, C]`; see `predict`."""
    return self._stacked(self._features, images, batch_size)

  def _best(self, logits: np.ndarray, top: int) -> list[Prediction]:
    logits = logits.astype(np.float64)
    if self.multi_label:
      probabilities = np.exp(-np.logaddexp(0, -logits))
    else:
      probabilities = np.exp(logits - np.logaddexp.reduce(logits))
    name = lambda label: self.label_names[label] if self.label_names else f'class {label}'
    return [
      Prediction(int(label), name(label), float(probabilities[label]))
      for label in np.argsort(-logits, kind='stable')[:top]
    ]

  def _stacked(self, program: Callable, images, batch_size: int) -> np.ndarray:
    rows = [_value(row) for row in self._rows(program, images, batch_size)]
    if rows:
      return np.stack(rows)
    size = self.preprocessing['image_size']
    none = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
    return np.zeros((0, jax.eval_shape(program, self.variables, none).shape[-1]), np.float32)

  def _rows(
    self, program: Callable, images, batch_size: int
  ) -> Iterator[np.ndarray | UserError]:
    """Yields the output for each picture, or its error; reads a batch ahead."""
    if batch_size < 1:
      raise UserError(f'batch_size={batch_size} must be at least 1.')
    images = iter([images] if pictures.is_one(images) else images)
    most = 1  # rows of the largest batch yet: a smaller one is padded, not compiled again
    with concurrent.futures.ThreadPoolExecutor(READERS) as pool:
      chunk = lambda: [
        pool.submit(_attempt, self.transform, image)
        for image in itertools.islice(images, batch_size)
      ]
      following = chunk()
      while following:
        current, following = following, chunk()
        most = max(most, min(batch_size, 1 << (len(current) - 1).bit_length()))
        yield from self._compute(program, [future.result() for future in current], most)

  def _compute(
    self, program: Callable, prepared: list[np.ndarray | UserError], rows: int
  ) -> Iterator[np.ndarray | UserError]:
    """Yields the outputs of one batch, padded to `rows`; errors stay in their places."""
    good = [image for image in prepared if not isinstance(image, UserError)]
    outputs = iter(())
    if good:
      batch = np.zeros((rows, *good[0].shape), np.float32)
      batch[: len(good)] = good
      outputs = iter(np.asarray(program(self.variables, batch)))
    for image in prepared:
      yield image if isinstance(image, UserError) else next(outputs)


def _attempt(transform: Callable, picture: Picture) -> np.ndarray | UserError:
  try:
    return transform(picture)
  except UserError as error:
    return error


def _value(found):
  """Returns a result; raises an error."""
  if isinstance(found, UserError):
    raise found
  return found


def load(
  weights: str | os.PathLike, *, model: str = '', dialect: str = 'timm', kind: str = 'ema',
  checkpoint: int | str = 'last', preprocessing: str = '', backbone: bool = False,
) -> Classifier:
  """Loads a trained network with its preprocessing and the names of its classes.

  Args:
    weights: the workdir of a training; converted weights; a timm folder, ours or timm's own, or
      'hf-hub:OWNER/NAME'; or a .safetensors, .npz or PyTorch file.
    model: the name of the network, for a file or a folder that does not name it.
    dialect: the code whose names a file has, as in `convert`.
    kind: 'ema' = the averaged weights, where there are any; 'raw' = the weights as trained.
    checkpoint: of a training: 'last', 'best' or a step.
    preprocessing: a name of `data.preprocessing.PREPROCESSING`, for a file, which stores none; '' =
      the default of the network.
    backbone: of a detector, take its backbone, which has no classifier.

  Raises:
    UserError: there is nothing to read, a file is damaged, or it is of another network.
  """
  silence_libtpu()
  lookup(WRAPPERS, kind, 'kind')
  loaded = read_weights(
    weights, model={'name': model} if model else None, dialect=dialect, kind=kind,
    step=checkpoint, preprocessing=preprocessing,
  )
  if backbone:
    loaded = backbone_of(loaded)
  name = loaded.model['name']
  if is_detector(name):
    raise UserError(
      f'{weights} holds a detector, {name}, which has no classes of whole images; '
      f'`python -m ecanet_jax predict {weights} IMAGE` finds objects.'
    )
  if model and model != name:
    raise UserError(f'{weights} holds {name}, not {model}; ask for {name}.')
  module = loaded.create()
  defaults = find_preprocessing(default_preprocessing(name, loaded.dialect))
  return Classifier(
    module, loaded.variables, defaults.data(network(name).image_size) | loaded.data,
    _names(weights, loaded, module.num_classes),
    multi_label=loaded.multi_label, name=name,
  )


def _names(
  weights: str | os.PathLike, loaded: LoadedWeights, num_classes: int
) -> tuple[str, ...] | None:
  """Returns the names of the classes, in words where the weights have WordNet ids; or None."""
  if loaded.label_names:
    return wnids_as_names(loaded.label_names)
  if num_classes != IMAGENET_CLASSES or loaded.multi_label:
    return None
  log.info('%s stores no class names; its 1,000 classes get those of ImageNet', weights)
  return published_for(num_classes)

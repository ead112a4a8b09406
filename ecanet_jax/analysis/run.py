"""A trained network with labelled images: what every analysis over a data set begins with."""

import concurrent.futures
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ecanet_jax import data
from ecanet_jax.analysis.classes import labelled_pictures, subfolders
from ecanet_jax.checkpoints.files import is_checkpoint
from ecanet_jax.config.stored import read_config
from ecanet_jax.data.types import Batch
from ecanet_jax.detection.from_config import is_detector
from ecanet_jax.evaluation.evaluate_weights import compare_classes, set_name
from ecanet_jax.inference.classifier import READERS, Classifier, load
from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.ops import select_backend
from ecanet_jax.runtime import paths, sharding
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.progress import bar
from ecanet_jax.tasks.classification import standardised
from ecanet_jax.weights.loaded_weights import read_weights


@dataclasses.dataclass(frozen=True)
class Source:
  """Which weights, and which images.

  Attributes:
    data: folder with a subfolder of pictures for each class; '' = a training's evaluation split.
    model: the network of a file that does not name it.
    dialect: the code whose names a file has.
    kind: 'ema' or 'raw'.
    checkpoint: of a training: 'last', 'best' or a step.
    batch_size: images that are computed together; rounded up to a multiple of the devices.
  """

  data: str = ''
  model: str = ''
  dialect: str = 'timm'
  kind: str = 'ema'
  checkpoint: str = 'last'
  batch_size: int = 64

  def load(self, path: str | os.PathLike) -> Classifier:
    """The network, or a detector's backbone, with its preprocessing, without images."""
    return load(
      path, model=self.model, dialect=self.dialect, kind=self.kind, checkpoint=self.checkpoint,
      backbone=True,
    )


@dataclasses.dataclass(frozen=True)
class Run:
  """A network with labelled images.

  Attributes:
    path: of the weights.
    title: network and data set.
    model: from `create_model`.
    variables: {'params', 'batch_stats'}, on every device.
    names: of the classes.
    steps: number of batches.
    read: returns the batches: 'image', normalised, over all devices; on the host 'label' and
      'mask', which is False for padding.
  """

  path: str
  title: str
  model: ConvNet
  variables: Mapping[str, Any]
  names: tuple[str, ...]
  steps: int
  read: Callable[[], Iterator[Mapping[str, Any]]]

  def batches(self, text: str) -> Iterator[Mapping[str, Any]]:
    """The batches, with a progress bar that begins with `text`."""
    return iter(bar(self.read(), text, 'batch', self.steps))


def network_title(model: Mapping[str, Any]) -> str:
  """The name in a `model` of a config, and its attention if that is not the network's own."""
  kind = (model.get('attention') or {}).get('kind')
  return f'{model["name"]} with {kind}' if kind else model['name']


def open_run(path: str | os.PathLike, source: Source = Source()) -> Run:
  """Reads weights and opens their images.

  Args:
    path: workdir of a training; with `source.data` weights of any form (`inference.load`).
    source: which weights and images.

  Raises:
    UserError: there is nothing to read, the data do not fit, or an image has several labels.
  """
  mesh = sharding.make_mesh()
  rows = -(-source.batch_size // mesh.devices.size) * mesh.devices.size
  return _of_folder(path, source, mesh, rows) if source.data else _of_training(
    path, source, mesh, rows
  )


def _of_training(path: str | os.PathLike, asked: Source, mesh: Mesh, rows: int) -> Run:
  source = read_weights(
    path, model={'name': asked.model} if asked.model else None, dialect=asked.dialect,
    kind=asked.kind, step=asked.checkpoint,
  )
  if not is_checkpoint(path):
    raise UserError(
      f'{path} is no workdir of a training, so it has no images: give --data=DIR, a folder with a '
      'subfolder of pictures for each class.'
    )
  if is_detector(source.model['name']):
    raise UserError(
      f'{path} is the training of a detector, whose images have no class: give --data=DIR, a '
      'folder with a subfolder of pictures for each class.'
    )
  config = read_config(path)
  dataset = data.open(config, paths.to_path(path))
  info = dataset.info
  if info.multi_label:
    raise _several_labels(path)
  compare_classes(str(path), source, info, accept=config.data.accept_changes)
  mean, std = (jnp.asarray(source.data[key], jnp.float32) for key in ('mean', 'std'))
  normalise = jax.jit(lambda images: standardised(images, mean, std))
  steps = -(-info.eval.num_examples // rows)

  def read() -> Iterator[Mapping[str, Any]]:
    batches, count = dataset.eval(batch_size=rows)
    for batch in itertools.islice(batches, count):
      placed = sharding.put_batch({'image': batch['image']}, mesh)
      yield {**batch, 'image': normalise(placed['image'])}

  names = info.label_names or tuple(map(str, range(info.num_classes)))
  title = f'{network_title(config.model)} on {set_name(config)}'
  model = source.create().clone(backend=select_backend('auto', list(mesh.devices.flat)))
  return Run(str(path), title, model, _everywhere(source.variables, mesh), names, steps, read)


def _of_folder(path: str | os.PathLike, asked: Source, mesh: Mesh, rows: int) -> Run:
  classifier = asked.load(path)
  if classifier.multi_label:
    raise _several_labels(path)
  classes = classifier.model.num_classes
  names = classifier.label_names or tuple(map(str, range(classes))) or subfolders(asked.data)
  pictures, labels = labelled_pictures(asked.data, names)

  def read() -> Iterator[Mapping[str, Any]]:
    with concurrent.futures.ThreadPoolExecutor(READERS) as pool:
      for first in range(0, len(pictures), rows):
        images = list(pool.map(classifier.transform, pictures[first : first + rows]))
        yield _placed(images, labels[first : first + rows], rows, mesh)

  folder = paths.absolute(paths.to_path(asked.data)).name
  return Run(
    str(path), f'{_name(path)} on {folder}', classifier.model,
    _everywhere(classifier.variables, mesh), tuple(names), -(-len(pictures) // rows), read,
  )


def _placed(images: list[np.ndarray], labels: list[int], rows: int, mesh: Mesh) -> Batch:
  """A batch of `rows` rows; those behind the images are padding."""
  batch = np.zeros((rows, *images[0].shape), np.float32)
  batch[: len(images)] = images
  label = np.zeros(rows, np.int32)
  label[: len(labels)] = labels
  placed = sharding.put_batch({'image': batch}, mesh)
  return {**placed, 'label': label, 'mask': np.arange(rows) < len(images)}


def _everywhere(variables: Mapping[str, Any], mesh: Mesh) -> dict[str, Any]:
  return jax.device_put(dict(variables), sharding.replicated(mesh))


def _name(path: str | os.PathLike) -> str:
  return paths.to_path(path).name


def _several_labels(path: str | os.PathLike) -> UserError:
  return UserError(f'{path} has several labels per image; the analysis is by one class each.')

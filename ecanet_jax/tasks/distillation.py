"""Knowledge distillation: a trained network, the teacher, gives the targets of another.

Hinton et al., "Distilling the Knowledge in a Neural Network" (2015, 1503.02531), section 2.
"""

import hashlib
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh

from ecanet_jax.data import DatasetInfo
from ecanet_jax.data.class_comparison import check_classes
from ecanet_jax.data.preprocessing import describe
from ecanet_jax.models.from_config import DTYPE
from ecanet_jax.models.registry import create_from_config
from ecanet_jax.nn.parameter_shapes import parameter_shapes
from ecanet_jax.ops import select_backend
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.consistency import check_same
from ecanet_jax.runtime.errors import UserError, lookup
from ecanet_jax.runtime.log import log
from ecanet_jax.runtime.sharding import put_everywhere
from ecanet_jax.tasks.classification import standardised
from ecanet_jax.tasks.task import Batch
from ecanet_jax.weights.hub.client import is_hub_name
from ecanet_jax.weights.loaded_weights import LoadedWeights, read_weights


def soft_loss(outputs: jax.Array, teacher: jax.Array, temperature: float) -> jax.Array:
  """T^2 * KL(softmax(teacher / T) || softmax(outputs / T)), mean over the images.

  Args:
    outputs: the student's logits, `[B, classes]`.
    teacher: the teacher's logits, `[B, classes]`.
    temperature: T.
  """
  target = jax.nn.log_softmax(teacher / temperature)
  found = jax.nn.log_softmax(outputs / temperature)
  return temperature**2 * (jnp.exp(target) * (target - found)).sum(-1).mean()


def hard_loss(outputs: jax.Array, teacher: jax.Array, temperature: float) -> jax.Array:
  """Cross-entropy with the teacher's answer (Touvron et al., "DeiT", 2021, Eq. 3).

  Args:
    outputs: the student's logits, `[B, classes]`.
    teacher: the teacher's logits, `[B, classes]`.
    temperature: not used.
  """
  answer = jax.nn.one_hot(teacher.argmax(-1), outputs.shape[-1])
  return -(answer * jax.nn.log_softmax(outputs)).sum(-1).mean()


LOSSES = {'soft': soft_loss, 'hard': hard_loss}


class Teacher:
  """A network that is not trained: in evaluation mode, with the preprocessing of its weights.

  It sees the student's crops and mixed images, with its own mean and standard deviation.

  Attributes:
    variables: {'params', 'batch_stats'}, float32, a copy on every device.
    checksum: SHA-256 of them.
  """

  def __init__(self, config, info: DatasetInfo, mesh: Mesh, sizes: Collection[int]):
    """Reads `distill.weights`.

    Args:
      config: the whole config.
      info: of the data set.
      mesh: the devices.
      sizes: of the training images, in pixels.

    Raises:
      UserError: there is nothing to read, or the teacher does not fit the data.
    """
    section = config.distill
    self._loss = lookup(LOSSES, section.kind, 'distill.kind')
    self._share, self._temperature = section.share, section.temperature
    try:
      source = _read(section)
      _check(source, config, info, sizes)
    except UserError as error:
      raise UserError(f'distill.weights={section.weights}: {error}') from error
    self._model = create_from_config(
      source.model, dtype=DTYPE[config.compute_dtype],
      backend=select_backend(config.ops.backend, list(mesh.devices.flat)),
    )
    self._mean, self._std = (jnp.asarray(source.data[key], jnp.float32) for key in ('mean', 'std'))
    flat = flatten_dict(dict(source.variables), sep='/')
    arrays = {key: np.asarray(flat[key], np.float32) for key in sorted(flat)}
    self.checksum = _checksum(arrays)
    self.variables = unflatten_dict(put_everywhere(arrays, mesh), sep='/')
    log.info('teacher %s: %s; its images: %s', section.weights, source.model['name'],
             describe({**source.data, 'image_size': config.data.image_size}))

  def outputs(self, variables: dict[str, Any], batch: Batch) -> jax.Array:
    """The logits `[B, classes]` for a training batch after `Task.mix`; call it under jit."""
    images = standardised(batch['image'], self._mean, self._std)
    return jax.lax.stop_gradient(self._model.apply(variables, images, train=False))

  def loss(self, own: jax.Array, outputs: jax.Array, teacher: jax.Array) -> jax.Array:
    """(1 - share) * the loss of the labels + share * the loss of the teacher's logits.

    Args:
      own: the task's loss.
      outputs: the student's logits.
      teacher: from `outputs`.
    """
    return (1 - self._share) * own + self._share * self._loss(outputs, teacher, self._temperature)


def read_teacher(
  config, info: DatasetInfo, mesh: Mesh, sizes: Collection[int]
) -> Teacher | None:
  """The teacher of a config, if it has one, the same in all processes; see `Teacher`."""
  if not config.distill.weights:
    return None
  teacher = Teacher(config, info, mesh, sizes)
  check_same('teacher', lambda: {'checksum of distill.weights': teacher.checksum})
  return teacher


def _read(section) -> LoadedWeights:
  path, model = section.weights, section.model
  with paths.answers(path):
    is_file = not is_hub_name(path) and paths.to_path(path).is_file()
  if is_file and not model:
    raise UserError('a file does not say which network it is of; give --config.distill.model=NAME.')
  return read_weights(path, model={'name': model} if model else None, dialect=section.dialect)


def _check(source: LoadedWeights, config, info: DatasetInfo, sizes: Collection[int]) -> None:
  model = source.create()
  if info.multi_label or source.multi_label:
    raise UserError(
      "distillation is for one label per image: set --config.distill.weights=''."
    )
  if model.num_classes != info.num_classes:
    raise UserError(
      f'the teacher has {model.num_classes} classes and the data set {info.num_classes}; give a '
      'teacher that was trained on these classes.'
    )
  check_classes(
    'the teacher', source.label_names, info.label_names, accept=config.data.accept_changes,
    otherwise='Give a teacher that was trained on these classes.',
  )
  arrays = {key: np.shape(value) for key, value in flatten_dict(
    dict(source.variables), sep='/').items()}
  for size in sorted({*sizes, config.data.image_size}):
    if parameter_shapes(model, size) != arrays:
      raise UserError(
        f'{source.model["name"]} takes images of {source.data["image_size"]} px only, and these '
        f'have {size}: set --config.data.image_size={source.data["image_size"]}.'
      )


def _checksum(arrays: dict[str, np.ndarray]) -> str:
  """SHA-256 of the names and values, in the order of the dict."""
  found = hashlib.sha256()
  for key, array in arrays.items():
    found.update(f'{key} {array.shape}'.encode())
    found.update(np.ascontiguousarray(array).tobytes())
  return found.hexdigest()

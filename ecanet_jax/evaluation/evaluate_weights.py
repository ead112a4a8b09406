"""Evaluates a checkpoint, folder or file of weights with its own preprocessing."""

import json
import os
import re
from collections.abc import Collection
from typing import Any

import jax
from ml_collections import ConfigDict

from ecanet_jax.data.class_comparison import check_classes
from ecanet_jax.data.imagenet_sets import IMAGENET_CLASSES, imagenet_set
from ecanet_jax.data.label_names import is_imagenet
from ecanet_jax.data.preprocessing import (
  PREPROCESSING,
  describe,
  find_preprocessing,
  preprocessing_of,
)
from ecanet_jax.data.types import DatasetInfo
from ecanet_jax.detection.from_config import is_detector, make_network
from ecanet_jax.evaluation.classification_metrics import ClassificationMetrics
from ecanet_jax.evaluation.evaluate import evaluate, evaluated, make_eval_step, place
from ecanet_jax.evaluation.summary import result_line
from ecanet_jax.evaluation.tta import views
from ecanet_jax.runtime import paths, sharding
from ecanet_jax.runtime.accelerators import log_devices
from ecanet_jax.runtime.errors import UserError, lookup
from ecanet_jax.runtime.log import log
from ecanet_jax.tasks.choice import has_several_labels, open_data
from ecanet_jax.tasks.detection.detection import Detection
from ecanet_jax.tasks.multi_label import MultiLabelClassification
from ecanet_jax.weights.loaded_weights import LoadedWeights, read_weights

# --preprocessing: the one stored with the weights, the config's, or a name.
CHOICES = ('weights', 'config', *PREPROCESSING)
DEFAULTS = ('none', 'last', 'ema')  # of tta, checkpoint and kind; left out of a report's name


def evaluate_weights(
  config: ConfigDict,
  path: str | os.PathLike,
  *,
  checkpoint: str = 'last',
  kind: str = 'ema',
  dialect: str = 'timm',
  preprocessing: str = 'weights',
  given: Collection[str] = (),
  tta: str = 'none',
  report: str | os.PathLike = '',
) -> dict[str, Any]:
  """Evaluates weights on the config's evaluation split; prints a readable line and a JSON line.

  Args:
    config: data set and batch size; for a file also the network. Other weights name their network.
    path: workdir of a training, converted weights, timm folder or file; see `read_weights`.
    checkpoint: of a training: 'last', 'best' or a step.
    kind: 'ema' = the averaged weights, if there are any, or 'raw'.
    dialect: the code whose names a file has.
    preprocessing: 'weights' = as stored with the weights, or for a file its network's default;
      'config' = the config's; or a name of `data.preprocessing.PREPROCESSING`.
    given: keys such as 'data.mean' that the user has set; they keep the config's values.
    tta: test-time augmentation, a name of `tta.VIEWS`.
    report: path of a JSON file for all figures, with pictures beside it (`evaluation.report`).
      Without the ending .json it is a folder for a file named after the data. '' = none.

  Returns:
    The metrics of `ClassificationMetrics.metrics`, for images with several labels of
    `MultiLabelClassification.metrics`, or for a detector of `Detection.metrics`; and `seen`.

  Raises:
    UserError: there is nothing to read, or the data set does not fit the network.
  """
  lookup(dict.fromkeys(CHOICES), preprocessing, 'preprocessing')
  seen = views(tta)
  mesh = sharding.make_mesh()
  sharding.check_batch('batch_size', config.batch_size, mesh)
  with paths.answers(path):
    bare = not paths.to_path(path).is_dir()
  source = read_weights(
    path, model=config.model.to_dict() if bare else None, dialect=dialect, kind=kind,
    step=checkpoint,
  )
  if not source.create().num_classes:
    raise UserError(
      f'{path} has no classifier, so there are no classes to compare; train one on it with '
      f'--config.init.weights={path}.'
    )
  said = apply_preprocessing(config, source, preprocessing, given)
  with config.unlocked():
    config.model = source.model
  detector = is_detector(config.model.name)
  if detector:
    columns = ()
    _choose_json(config, tta)
  else:
    columns = choose_split(config, given)
  dataset = open_data(config, paths.to_path(path) if not bare else None)
  info = dataset.info
  compare_classes(str(path), source, info, accept=config.data.accept_changes)
  model = make_network(config, info.num_classes, mesh)
  if detector:
    task = Detection(config, model, dataset, per_class=True)
  elif has_several_labels(config):
    task = MultiLabelClassification(config)
  else:
    task = ClassificationMetrics(config, columns)
  if info.drawn:
    log.warning(
      '%s has no split.csv: its training may have seen the images that data.eval_share holds out',
      path,
    )
  log_devices()
  if not detector:
    log.info('%s: preprocessing %s: %s', path, said, describe(config.data))
  hosts = {'host': jax.process_index(), 'num_hosts': jax.process_count()}
  batches, steps = dataset.eval(**hosts, **({} if detector else {'crops': seen.crops}))
  metrics = evaluate(
    make_eval_step(evaluated(model, config), task, mesh, seen),
    place(model, source.variables, config, mesh), batches, steps, info.eval.num_examples, task,
    mesh,
  )
  if jax.process_index() > 0:
    return metrics
  form = f'checkpoint {checkpoint} of {path}' if not source.state_dict else str(path)
  name = f'{kind} weights, {form}' if not source.state_dict else form
  name += f'; mean logits of {seen.count} views' if seen.count > 1 else ''
  print(result_line(task, metrics, info.eval.name, info.eval.num_examples, name))
  numbers = {key: value for key, value in metrics.items() if isinstance(value, int | float)}
  said = {'model': config.model.name, 'data': info.eval.name, 'set': set_name(config)}
  print(json.dumps({**said, 'tta': tta, **numbers}), flush=True)
  if report:
    from ecanet_jax.evaluation.report import write_report

    of = [said['set'], *(x for x in (tta, checkpoint, kind) if x not in DEFAULTS)]
    said |= {'weights': name, 'tta': tta}
    said['preprocessing'] = preprocessing_of(config.data)
    title = f'{said["model"]}, {said["set"]}: {task.headline.title} '
    title += task.headline.show(metrics[task.headline.name])
    files = write_report(
      _file(report, '_'.join(of)), {**said, **metrics}, info.label_names, title
    )
    log.info('written: %s', ', '.join(map(str, files)))
  return metrics


def _file(report: str | os.PathLike, name: str) -> paths.Path:
  path = paths.to_path(report)
  if path.suffix == '.json':
    return path
  return path / (re.sub(r'[^\w.-]+', '-', name).strip('-') + '.json')


def set_name(config) -> str:
  """The name of the evaluated data, such as 'imagenet_v2 test'."""
  data_config = config.data
  name = data_config.name
  if data_config.source == 'csv':
    name = paths.to_path(data_config.csv or data_config.eval_split).stem
    return f'{name} {data_config.eval_split}' if data_config.csv else name
  if data_config.source == 'folder':
    name = paths.absolute(paths.to_path(data_config.data_dir)).name
  if data_config.source == 'coco':
    return paths.to_path(data_config.eval_json).stem
  return f'{name} {data_config.eval_split}'


def choose_split(config, given: Collection[str]) -> tuple[int, ...]:
  """Sets the splits of `config.data` for an evaluation.

  A set of `imagenet_sets` has a single split, which is used unless `given` has data.eval_split. No
  training split is needed.

  Returns:
    The classes to compare, as `columns` of `ClassificationMetrics`.

  Raises:
    UserError: a set for ImageNet networks, and a network with other classes.
  """
  found = imagenet_set(config.data.name) if config.data.source == 'tfds' else None
  if found and config.model.num_classes != IMAGENET_CLASSES:
    raise UserError(
      f"{config.data.name} is for networks of ImageNet's {IMAGENET_CLASSES:,} classes; "
      f'{config.model.name} has {config.model.num_classes:,}.'
    )
  if found and 'data.eval_split' not in given:
    config.data.eval_split = found.split
  if not _has_training_split(config.data):
    config.data.train_split = config.data.eval_split
  if found and found.classes:
    log.info('%s: the logits of %d classes are compared', config.data.name, len(found.classes))
  return found.classes if found else ()


def _choose_json(config, tta: str) -> None:
  """Sets the splits of `config.data` for the evaluation of a detector, which needs no training.

  Raises:
    UserError: test-time augmentation.
  """
  if tta != 'none':
    raise UserError(f'--tta={tta} is for classification networks; leave it out.')
  config.data.train_split = config.data.eval_split
  config.data.train_json = config.data.eval_json


def compare_classes(path: str, source: LoadedWeights, info: DatasetInfo, *, accept: bool) -> None:
  """Compares the classes of weights and of the evaluated data, where both have names.

  Args:
    path: of the weights, for messages.
    source: the weights.
    info: of the data set.
    accept: other names are a warning, if the number of classes is the same.

  Raises:
    UserError: other classes, or the same ones in another order.
  """
  names = info.label_names
  if source.label_names is None and names and not is_imagenet(names):
    log.warning("%s has no class names; they are not compared with the data's", path)
  check_classes(
    path, source.label_names, names, accept=accept,
    otherwise='These weights can only be evaluated on data with their classes.',
  )


def _has_training_split(data_config) -> bool:
  """Whether image files have a training split, whose classes then count, too."""
  if data_config.source == 'csv':
    return bool(data_config.csv) or paths.to_path(data_config.train_split).exists()
  folder = data_config.source == 'folder'
  return folder and (paths.to_path(data_config.data_dir) / data_config.train_split).is_dir()


def apply_preprocessing(
  config, source: LoadedWeights, preprocessing: str, given: Collection[str]
) -> str:
  """Writes the chosen preprocessing to `config.data`; returns a description of its origin.

  A named preprocessing takes the image size of the weights.
  """
  if preprocessing == 'config':
    return 'of the config'
  values, said = source.data, source.data_source
  if preprocessing != 'weights':
    size = source.data.get('image_size', config.data.image_size)
    values = find_preprocessing(preprocessing).data(size)
    said = preprocessing
  values = {'crop_mode': 'center', **values}
  by_hand = [key for key in values if f'data.{key}' in given]
  for key, value in values.items():
    if key not in by_hand:
      config.data[key] = type(config.data[key])(value)  # lists become tuples, 1 becomes 1.0
  return said + (f', but for {", ".join(by_hand)} of the command line' if by_hand else '')

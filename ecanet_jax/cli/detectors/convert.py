"""`convert` with a detector: a training as one file of other code, and such a file as weights."""

import argparse

from ecanet_jax.runtime.errors import UserError

NOT_FOR_DETECTORS = ('widen', 'num_classes', 'push')


def export_detector(args: argparse.Namespace, saved) -> str:
  """Writes a checkpoint as one file; returns what was compared, in words.

  Args:
    args: of the command.
    saved: from `load_saved`.

  Raises:
    UserError: a flag that is not for detectors, a dialect of other rules, or a target that cannot
      be written. Nothing is written then.
  """
  from ecanet_jax.detection.from_config import create_from_config
  from ecanet_jax.weights.detectors.detector_files import write_detector

  _check(args)
  model = create_from_config(saved.config['model'])
  return write_detector(args.target, model, saved.variables, args.dialect)


def import_detector(args: argparse.Namespace) -> str:
  """Writes a file as a checkpoint of step 0; returns what was read, in words.

  Raises:
    UserError: a flag that is not for detectors, or a file of another network. Nothing is written
      then.
  """
  from ecanet_jax.checkpoints.files import save_weights
  from ecanet_jax.config.schema import get_config
  from ecanet_jax.data.preprocessing import find_preprocessing
  from ecanet_jax.data.summary import DataSummary
  from ecanet_jax.weights.detectors import detector_files

  _check(args)
  images = find_preprocessing(args.preprocessing or 'torchvision')
  section, variables, dialect = detector_files.import_detector(
    args.source, args.model, args.dialect, kind=args.kind, bn_eps=args.bn_eps)
  config = get_config().to_dict()
  detector = config['model']['detector'] | section['detector']
  config['model'] |= {**section, 'detector': detector}
  config['data'] |= {'mean': images.mean, 'std': images.std, 'interpolation': 'bilinear'}
  classes = section['num_classes']
  save_weights(args.target, config, variables, DataSummary(classes).to_json())
  return (f'{classes} classes, names of {dialect}, rules of {detector["preset"]}; images of '
          f'{config["detection"]["shorter"]} to {config["detection"]["longer"]} pixels')


def _check(args: argparse.Namespace) -> None:
  for flag in NOT_FOR_DETECTORS:
    if given := getattr(args, flag):
      raise UserError(
        f'--{flag}={given} is for classification networks, not for detectors; leave --{flag} out.')

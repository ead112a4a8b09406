"""Files of small networks in their own runtimes; all published ones in the slow tests."""

import subprocess
import sys

import numpy as np
import pytest

from ecanet_jax.export.check import photographs
from ecanet_jax.export.export import check_again, export
from ecanet_jax.export.formats import FORMATS
from ecanet_jax.export.forward import forward_of
from ecanet_jax.export.manifest import size
from ecanet_jax.export.options import ExportOptions
from tests.support import programs
from tests.support.exports import PUBLISHED, differences, labelled_photographs, lite0, network

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
def test_lite0_on_photographs(tmp_path):
  pytest.importorskip('onnxruntime')
  classifier, (files, _) = lite0(), labelled_photographs()
  seen = []
  export(
    classifier, tmp_path / 'out', ['stablehlo', 'saved_model', 'onnx'], preprocess='inside',
    photographs=photographs(files, classifier.preprocessing), report=seen.append,
  )
  assert [each.photographs.top1 for each in seen] == [20, 20, 20]
  assert max(each.largest for each in seen) <= 1e-5
  check_again(tmp_path / 'out')

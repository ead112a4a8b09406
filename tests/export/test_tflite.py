"""TFLite files in LiteRT: operators, logits, and lite0's real weights on photographs."""

import importlib.util
import json

import jax
import numpy as np
import pytest
from flax import traverse_util

from ecanet_jax.export import check
from ecanet_jax.export.export import export
from ecanet_jax.export.formats import FORMATS
from ecanet_jax.export.forward import forward_of
from ecanet_jax.export.manifest import size
from ecanet_jax.export.options import ExportOptions
from ecanet_jax.export.tflite import converter
from ecanet_jax.export.tflite.operators import unknown_operators
from ecanet_jax.inference.classifier import Classifier
from ecanet_jax.runtime.errors import UserError
from tests.support.exports import PUBLISHED, differences, labelled_photographs, lite0, network

pytest.importorskip('ai_edge_litert')
needs_converter = pytest.mark.skipif(
  not importlib.util.find_spec('litert_quantizer'), reason='the extra tflite is not installed'
)
FORMATS_OF_TFLITE = ('tflite', 'tflite_f16', 'tflite_w8', 'tflite_int8')
# Beside its convolutions, B0 has 49 swishes of two operators each, and its SE.
OPERATORS = {'tf_efficientnet_lite0': 60, 'efficientnet_b0': 243}


@pytest.fixture(scope='module')
def small():
  return network('tiny_efficientnet', 32, attention='eca')


@needs_converter
def test_a_small_network(small, tmp_path):
  found, operators, forward = differences('tflite', *small, tmp_path / 'model')
  assert found <= 1e-5
  # The 13 convolutions of the network, and one in each of its four ECAs.
  assert dict(operators) == {
    'CONV_2D': 9, 'DEPTHWISE_CONV_2D': 8, 'LOGISTIC': 13, 'MUL': 13, 'RESHAPE': 8, 'MEAN': 5,
    'PAD': 3, 'ADD': 2, 'FULLY_CONNECTED': 1,
  }
  FORMATS['tflite'].write(forward, tmp_path / 'again', ExportOptions())
  assert (tmp_path / 'again').read_bytes() == (tmp_path / 'model').read_bytes()


def test_int8_needs_photographs(small, tmp_path):
  with pytest.raises(UserError, match=r'tflite_int8 needs photographs .* by --calibrate=DIR\.$'):
    FORMATS['tflite_int8'].write(forward_of(small[0]), tmp_path / 'model', ExportOptions())


def test_no_converter(small, tmp_path, monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(UserError, match=(
    r'^tflite: litert-converter is not installed, and TensorFlow is not installed: pip install '
    r"'ecanet_jax\[tflite\]' \(or \[train\]\)\.$"
  )):
    FORMATS['tflite'].write(forward_of(small[0]), tmp_path / 'model', ExportOptions())


def test_operators_that_tflite_lacks():
  names = {'CONV_2D': 3, 'STABLEHLO_SCATTER': 1, 'CUSTOM': 2}
  assert unknown_operators(names) == ['CUSTOM', 'STABLEHLO_SCATTER']


@pytest.mark.slow
@needs_converter
def test_tensorflow_converts_where_the_other_fails(small, tmp_path, monkeypatch, heard):
  def fail(*_):
    raise RuntimeError('no such pass.')

  monkeypatch.setattr(converter, '_by_litert', fail)
  found, operators, _ = differences('tflite', *small, tmp_path / 'model')
  assert found <= 1e-5 and not unknown_operators(operators)
  assert 'litert-converter: no such pass; TensorFlow converts the network.' in heard.text


@pytest.mark.slow
@needs_converter
@pytest.mark.parametrize('batch', [None, 3])
def test_int8_of_a_batch(batch, tmp_path):
  classifier, images, logits = network('tiny_compact', 32)
  path, each = tmp_path / 'model', FORMATS['tflite_int8']
  each.write(forward_of(classifier), path, ExportOptions(batch, calibration=images))
  found = check.Difference.of(check.run(each.load(path), images, batch), logits)
  assert found.cosine > 0.97


@pytest.mark.slow
@needs_converter
def test_int8_is_refused_where_it_loses(tmp_path):
  """SE and swish, with channels of very different sizes as trained networks have them."""
  given, *_ = network('tiny_efficientnet', 32, attention='se')
  random = np.random.default_rng(0)
  variables = traverse_util.flatten_dict(given.variables)
  for path, value in variables.items():
    if path[-1] == 'scale':
      variables[path] = random.lognormal(0, 1, value.shape).astype(np.float32)
  pixels = check.noise((32, 32, 3))
  images = check.normalised(pixels, given.preprocessing)
  program = jax.jit(lambda variables: given.model.apply(variables, images, train=False))
  mean = np.mean(program(traverse_util.unflatten_dict(variables)), 0)
  variables['params', 'classifier', 'bias'] = variables['params', 'classifier', 'bias'] - mean
  classifier = Classifier(
    given.model, traverse_util.unflatten_dict(variables), given.preprocessing, name='small'
  )
  options, seen = ExportOptions(calibration=images), []
  with pytest.raises(UserError, match=(
    r'^tflite_int8: this network loses by it: the cosine to its logits is 0\.[0-8]\d+, below 0\.97,'
    r' top-1 equal on \d of 7; leave it out, or write it all the same with --force\.$'
  )):
    export(classifier, tmp_path / 'out', ['tflite_w8', 'tflite_int8'], options, report=seen.append)
  assert [each.format for each in seen] == ['tflite_w8'] and seen[0].noise.cosine >= 0.99
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
@needs_converter
@pytest.mark.parametrize('model', PUBLISHED)
def test_published_networks(model, tmp_path):
  classifier, images, logits = network(model, 224)
  found, operators, forward = differences('tflite', classifier, images, logits, tmp_path / 'model')
  assert found <= 1e-5
  assert size(tmp_path / 'model') <= 1.02 * 4 * forward.parameters
  assert not unknown_operators(operators)
  assert model not in OPERATORS or sum(operators.values()) == OPERATORS[model]
  for name, share in (('tflite_f16', 0.5), ('tflite_w8', 0.25)):
    each, path = FORMATS[name], tmp_path / name
    each.write(forward, path, ExportOptions())
    difference = check.Difference.of(each.load(path)(images), logits)
    assert difference.largest <= each.tolerance and difference.cosine >= each.cosine, name
    assert size(path) <= (share + 0.03) * 4 * forward.parameters, name
    assert each.convolutions(found := each.operators(path)) == forward.convolutions, name
    assert not unknown_operators(found), name


@pytest.mark.slow
@needs_converter
def test_lite0_on_photographs(tmp_path):
  """Logits of the published weights on 20 labelled photographs of ImageNet."""
  classifier, (files, labels) = lite0(), labelled_photographs()
  pixels = check.photographs(files, classifier.preprocessing)
  images = check.normalised(pixels, classifier.preprocessing)
  out = tmp_path / 'out'
  export(
    classifier, out, FORMATS_OF_TFLITE, ExportOptions(calibration=images), photographs=pixels,
  )
  entries = json.loads((out / 'export.json').read_text())['formats']
  found = {name: entries[name]['photographs'] for name in FORMATS_OF_TFLITE}
  assert found['tflite']['largest_difference'] <= 1e-5 and found['tflite']['top1_equal'] == 20
  assert found['tflite_f16']['largest_difference'] <= 5e-3
  assert found['tflite_w8']['cosine'] >= 0.99
  assert sum(entries['tflite']['operators'].values()) <= 60
  ours = (classifier.logits(files).argmax(1) == labels).sum()
  program = FORMATS['tflite_int8'].load(out / entries['tflite_int8']['path'])
  right = (program(images).argmax(1) == labels).sum()
  assert ours >= 17 and right >= ours - 1

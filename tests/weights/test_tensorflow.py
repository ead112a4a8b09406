"""Weights of TensorFlow: TF1 checkpoints array by array, Keras's EfficientNet by its logits."""

import sys
import zipfile

import numpy as np
import pytest
from flax import traverse_util

from ecanet_jax import create_model
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import from_torch
from ecanet_jax.weights.files.tensorflow import READERS, read_keras, read_tf1

tf = pytest.importorskip('tensorflow', reason='reads TF1 checkpoints')

from tests.support.tf1_checkpoint import (  # noqa: E402  after the check for TensorFlow
  MODEL,
  save,
  tf1_layers,
  tf1_variables,
)

# Keras's backend on NumPy 2.
pytestmark = pytest.mark.filterwarnings('ignore:__array__ implementation:DeprecationWarning')

BN = ('gamma', 'beta', 'moving_mean', 'moving_variance')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
  """A checkpoint as a training leaves it, the raw variables, and the averaged ones."""
  raw, ours = tf1_variables(MODEL)
  averaged = {f'{name}/ExponentialMovingAverage': array + 1 for name, array in raw.items()}
  training = {'global_step': np.int64(7)}
  for name in raw:
    training |= {f'{name}/RMSProp': raw[name], f'{name}/RMSProp_1': raw[name]}
  prefix = save(str(tmp_path_factory.mktemp('tf1') / 'model.ckpt'), raw | averaged | training)
  return prefix, ours, {path: array + 1 for path, array in ours.items()}


def assert_equal(variables, expected):
  flat = traverse_util.flatten_dict(variables, sep='/')
  assert set(flat) == set(expected)
  for path, array in flat.items():
    assert array.tobytes() == expected[path].tobytes(), path


def test_tf1_checkpoint_array_by_array(checkpoint, caplog):
  prefix, raw, averaged = checkpoint
  with caplog.at_level('WARNING'):
    assert_equal(from_torch(MODEL, read_tf1(prefix), 'tf1'), averaged)
  count = len(raw)
  assert f'dropped {2 * count + 1} of {4 * count + 1} variables, those of the opt' in caplog.text
  assert f"removed the scope 'efficientnet-tiny/' from all {count} names" in caplog.text
  assert 'no average' not in caplog.text
  assert_equal(from_torch(MODEL, read_tf1(f'{prefix}.index', 'raw'), 'tf1'), raw)


def test_tf1_names_of_the_first_network():
  names = dict(tf1_layers(create_model('efficientnet_b0')))
  assert names['blocks_0_0/project_bn'] == 'blocks_0/tpu_batch_normalization_1'
  assert names['blocks_6_0/project'] == 'blocks_15/conv2d_1'
  assert names['blocks_6_0/project_bn'] == 'blocks_15/tpu_batch_normalization_2'


def test_tf1_variables_without_averages_are_read_themselves(tmp_path, caplog):
  theirs, ours = tf1_variables(MODEL, scope='')
  prefix = save(str(tmp_path / 'model.ckpt'), theirs)
  with caplog.at_level('WARNING'):
    assert_equal(from_torch(MODEL, read_tf1(prefix), 'tf1'), ours)
  assert f'{len(ours)} of {len(ours)} variables have no average' in caplog.text
  assert 'scope' not in caplog.text and 'dropped' not in caplog.text


def test_tf1_mistakes(tmp_path, monkeypatch):
  with pytest.raises(UserError, match=r'no TF1 checkpoint; give the prefix of its files'):
    read_tf1(str(tmp_path / 'model.ckpt'))
  with pytest.raises(UserError, match=r"unknown kind 'emma'\. Did you mean 'ema'"):
    read_tf1('model.ckpt', 'emma')
  prefix = save(str(tmp_path / 'model.ckpt'), {'a/b/ExponentialMovingAverage': np.zeros(1)})
  with pytest.raises(UserError, match="1 variables are there only as averages"):
    read_tf1(prefix, 'raw')
  assert list(read_tf1(prefix)) == ['b']
  objects = tf.train.Checkpoint(v=tf.Variable(1.0)).write(str(tmp_path / 'objects'))
  with pytest.raises(UserError, match=r'checkpoint of objects \(TensorFlow 2\)'):
    read_tf1(objects)
  (tmp_path / 'model.ckpt.index').write_bytes(b'damaged')
  with pytest.raises(UserError, match='not a complete TF1 checkpoint'):
    read_tf1(prefix)
  monkeypatch.setitem(sys.modules, 'tensorflow', None)
  with pytest.raises(UserError, match='needs TensorFlow to be read: pip install tensorflow-cpu'):
    read_tf1(prefix)


def keras_model(pixels):
  """Keras's EfficientNetB0 with random weights, BatchNorm's statistics too; it gives logits."""
  keras = pytest.importorskip('keras', reason="the network is Keras's own")
  keras.utils.clear_session()
  model = keras.applications.EfficientNetB0(
    weights=None, input_shape=(pixels, pixels, 3), classes=20, classifier_activation=None
  )
  random = np.random.default_rng(0)
  for weight in model.weights:
    layer, array = weight.path.split('/')[-2:]
    shape = weight.shape
    if layer.startswith('normalization'):  # mean 0, variance 1: it changes nothing
      continue
    if array == 'kernel':
      summed = shape[:2] if layer.endswith('dwconv') else shape[:-1]
      value = random.normal(0, (1.5 / np.prod(summed)) ** 0.5, shape)
    elif array in ('gamma', 'moving_variance'):
      value = random.uniform(0.7, 1.4, shape)
    else:
      value = random.normal(0, 0.2, shape)
    weight.assign(value.astype(np.float32))
  return model


# 75 px are odd and even in turn from stage to stage, which tells TensorFlow's padding from others.
@pytest.mark.slow
@pytest.mark.parametrize('pixels', [75, 224])
def test_keras_logits(pixels, caplog):
  pytest.importorskip('torch', reason='tests/support/twins.py imports it')
  from tests.support import twins

  theirs = keras_model(pixels)
  model = create_model('tf_efficientnet_b0', num_classes=20)
  with caplog.at_level('WARNING'):
    state = read_keras(theirs)
  assert 'dropped 3 arrays of the normalization of the images' in caplog.text
  variables = from_torch(model, state, 'keras')
  images = np.random.default_rng(1).normal(size=(1, pixels, pixels, 3)).astype(np.float32)
  expected = np.asarray(theirs(images * 255, training=False))  # it divides by 255 at first
  logits = np.asarray(twins.compiled(model)(variables, images))
  difference = twins.relative(logits, expected)
  print(f'Keras: {difference:.1e}')
  assert difference < 1e-5 and expected.std() > 0.1


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """A small Keras model with every kind of layer of its EfficientNet, and its files."""
  keras = pytest.importorskip('keras', reason="the files are Keras's own")
  layers = keras.layers
  images = layers.Input((8, 8, 3))
  x = layers.Normalization()(layers.Rescaling(1 / 255)(images))
  x = layers.Conv2D(4, 3, use_bias=False, name='stem_conv')(x)
  x = layers.BatchNormalization(name='stem_bn')(x)
  x = layers.DepthwiseConv2D(3, use_bias=False, name='block1a_dwconv')(x)
  x = layers.Conv2D(4, 1, name='block1a_se_reduce')(x)
  x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
  model = keras.Model(images, layers.Dense(2, name='predictions')(x))
  for weight in model.weights:
    weight.assign(np.random.default_rng(0).normal(size=weight.shape))
  directory = tmp_path_factory.mktemp('keras')
  for suffix in ('.keras', '.h5'):
    model.save(directory / f'model{suffix}')
  model.save_weights(directory / 'model.weights.h5')
  return model, directory


@pytest.mark.parametrize('file', ['model.keras', 'model.h5', 'model.weights.h5'])
def test_keras_files_hold_what_the_model_holds(saved, file):
  model, directory = saved
  expected, found = read_keras(model), read_keras(directory / file)
  assert set(found) == set(expected) == {
    'stem_conv/kernel', *(f'stem_bn/{array}' for array in BN), 'block1a_dwconv/depthwise_kernel',
    'block1a_se_reduce/kernel', 'block1a_se_reduce/bias', 'predictions/kernel', 'predictions/bias',
  }
  for name, array in found.items():
    np.testing.assert_array_equal(array, expected[name])


def test_names_of_keras_2_have_a_colon(tmp_path):
  h5py = pytest.importorskip('h5py', reason='writes the file')
  with h5py.File(tmp_path / 'b0.h5', 'w') as file:
    file.attrs['layer_names'] = [b'input_1', b'block1a_dwconv']
    file.create_group('input_1').attrs['weight_names'] = []
    group = file.create_group('block1a_dwconv')
    group.attrs['weight_names'] = [b'block1a_dwconv/depthwise_kernel:0']
    group['block1a_dwconv/depthwise_kernel:0'] = np.arange(9).reshape(3, 3, 1, 1)
  found = READERS['keras'](str(tmp_path / 'b0.h5'), 'ema')
  assert list(found) == ['block1a_dwconv/depthwise_kernel']
  assert found['block1a_dwconv/depthwise_kernel'].shape == (3, 3, 1, 1)


def test_keras_mistakes(tmp_path, monkeypatch):
  h5py = pytest.importorskip('h5py', reason='writes the file')
  for name, message in (
    ('model.pth', 'must end in one of .keras, .h5'), ('absent.h5', 'no such file'),
  ):
    with pytest.raises(UserError, match=message):
      read_keras(str(tmp_path / name))
  damaged = tmp_path / 'damaged.h5'
  damaged.write_bytes(b'damaged')
  with pytest.raises(UserError, match='not a complete Keras file'):
    read_keras(damaged)
  with zipfile.ZipFile(tmp_path / 'empty.keras', 'w') as archive:
    archive.writestr('config.json', '{}')
  with pytest.raises(UserError, match='not a complete Keras file'):
    read_keras(tmp_path / 'empty.keras')
  with h5py.File(tmp_path / 'old.weights.h5', 'w') as file:  # before layers had names in files
    file['layers/conv2d/vars/0'] = np.zeros(1)
  with pytest.raises(UserError, match=r'layer /layers/conv2d have no known .* pass the model to'):
    read_keras(tmp_path / 'old.weights.h5')
  monkeypatch.setitem(sys.modules, 'h5py', None)
  with pytest.raises(UserError, match='needs h5py to be read'):
    read_keras(damaged)

"""Weights without a classifier of ours: as features, and as a start."""

import numpy as np
import pytest

import ecanet_jax
from ecanet_jax import create_model
from ecanet_jax.config.schema import get_config
from ecanet_jax.evaluation.evaluate_weights import evaluate_weights
from ecanet_jax.models import network
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.training.pretrained_init import initial_weights, resolve
from ecanet_jax.weights import from_torch, read_weights, to_torch, write_folder, write_state_dict
from ecanet_jax.weights.convert import classifier_keys, entries
from ecanet_jax.weights.other_classifier import settle_classifier
from ecanet_jax.weights.verify import our_logits
from tests.support.random_variables import random_variables
from tests.support.weights_folder import PREPROCESSING

torch = pytest.importorskip('torch')

MODEL = create_model('tiny_efficientnet', num_classes=10)
SECTION = {'name': 'tiny_efficientnet'}
STATE = to_torch(MODEL, random_variables(MODEL))
BODY = {key: array for key, array in STATE.items() if 'classifier' not in key}
FEATURES = len(STATE['classifier.weight'][0])
RANDOM = np.random.default_rng(0)


def of(shapes, name='classifier'):
  """Arrays under a classifier's name, such as {'0.weight': (8, 32)}."""
  return {
    f'{name}.{key}': RANDOM.normal(size=shape).astype(np.float32) for key, shape in shapes.items()
  }


OTHERS = {
  'none': {},
  'Sequential(Dropout, Linear)': of({'1.weight': (10, FEATURES), '1.bias': (10,)}),
  'two layers': of({'0.weight': (8, FEATURES), '0.bias': (8,), '2.weight': (3, 8), '2.bias': (3,)}),
  'weight_norm': of({'weight_g': (10, 1), 'weight_v': (10, FEATURES)}),
  'more features': of({'weight': (10, 2 * FEATURES), 'bias': (10,)}),
  'another name': of({'weight': (10, FEATURES), 'bias': (10,)}, name='my_head'),
  'fc beside it': of({'weight': (10, FEATURES), 'bias': (10,)}, name='fc'),
}


@pytest.fixture(params=OTHERS)
def file(tmp_path, request):
  path = tmp_path / 'w.pth'
  content = {**BODY, **OTHERS[request.param]}
  torch.save({key: torch.from_numpy(array) for key, array in content.items()}, path)
  return path


def test_features(file, caplog):
  source = read_weights(file, model=SECTION)
  assert source.model == {**SECTION, 'num_classes': 0}
  assert len(caplog.messages) == 1 and 'its output is the pooled features' in caplog.text
  assert 'has no classifier' in caplog.text or 'classifier is another one' in caplog.text
  images = RANDOM.normal(size=(2, 32, 32, 3)).astype(np.float32)
  pooled = create_model('tiny_efficientnet', num_classes=0)
  expected = our_logits(pooled, from_torch(pooled, BODY), images)
  np.testing.assert_array_equal(our_logits(source.create(), source.variables, images), expected)


def test_start(file, caplog):
  config = get_config()
  config.model.name, config.init.weights = 'tiny_efficientnet', str(file)
  config, source = resolve(config, file.parent / 'workdir', ('model.name', 'init.weights'))
  model = create_model('tiny_efficientnet', num_classes=7)
  arrays = initial_weights(config, model, source)
  expected = from_torch(create_model('tiny_efficientnet', num_classes=0), BODY)
  np.testing.assert_array_equal(
    arrays['params/stem/kernel'], expected['params']['stem']['kernel']
  )
  assert not [key for key in arrays if 'classifier' in key]


def test_new_classifier(file, caplog):
  model, variables = ecanet_jax.create_model('tiny_efficientnet', pretrained=file, num_classes=7)
  assert model.num_classes == 7 and variables['params']['classifier']['bias'].shape == (7,)
  assert 'the classifier is a new one of 7, which has to be trained' in caplog.text


def test_load_gives_features_and_no_prediction(tmp_path):
  write_state_dict(str(tmp_path / 'w.npz'), BODY)
  classifier = ecanet_jax.load(tmp_path / 'w.npz', model='tiny_efficientnet')
  picture = np.zeros((40, 40, 3), np.uint8)
  assert classifier.features(picture).shape == (1, FEATURES)
  with pytest.raises(UserError, match=r'has no classifier .* it has \.features\(\)'):
    classifier.predict(picture)


def test_an_evaluation_needs_a_classifier(tmp_path):
  pooled = create_model('tiny_efficientnet', num_classes=0)
  write_folder(tmp_path / 'x', network('tiny_efficientnet'), pooled, BODY, PREPROCESSING)
  with pytest.raises(UserError, match=r'has no classifier, so .* --config\.init\.weights='):
    evaluate_weights(get_config(), tmp_path / 'x')


def test_a_classifier_that_computes_the_same_is_kept(tmp_path, caplog):
  bare = {key: array for key, array in STATE.items() if key != 'classifier.bias'}
  write_state_dict(str(tmp_path / 'w.npz'), bare)
  source = read_weights(tmp_path / 'w.npz', model=SECTION)
  assert source.model['num_classes'] == 10 and 'no bias; it gets zeros' in caplog.text
  assert not source.variables['params']['classifier']['bias'].any()
  conv = {**STATE, 'classifier.weight': STATE['classifier.weight'][:, :, None, None]}
  write_state_dict(str(tmp_path / 'w.npz'), conv)
  kernel = read_weights(tmp_path / 'w.npz', model=SECTION).variables['params']['classifier']
  np.testing.assert_array_equal(kernel['kernel'], STATE['classifier.weight'].T)


@pytest.mark.parametrize('extra', ['blocks.1.5.conv_pw.weight', 'blocks.7.0.bn1.bias', 'bn1.extra'])
def test_more_blocks_are_no_classifier(tmp_path, extra):
  write_state_dict(str(tmp_path / 'w.npz'), {**BODY, extra: np.zeros(3, np.float32)})
  with pytest.raises(UserError, match=f'2 missing .*1 unexpected .{extra}'):
    read_weights(tmp_path / 'w.npz', model=SECTION)


@pytest.mark.parametrize(('deeper', 'name'), [
  ('tf_efficientnet_b1', 'tf_efficientnet_b0'), ('resnet34', 'resnet18'),
])
def test_a_deeper_network_is_not_taken_for_another_classifier(deeper, name):
  """Also in dialects that put the number of the block into the first part of the name."""
  dialects = {'tf_efficientnet_b1': ['timm', 'lukemelas', 'keras', 'tf1']}.get(deeper, ['timm'])
  model = create_model(name)
  for dialect in dialects:
    state = {
      entry.key: np.broadcast_to(np.float32(0), entry.their_shape)
      for entry in entries(create_model(deeper), dialect)[0]
    }
    state = {key: state[key] for key in state if key not in classifier_keys(model, dialect)}
    kept, classes = settle_classifier('x', model, state, dialect)
    assert len(kept) == len(state) and classes == 1000


def test_the_number_of_classes_that_is_given_is_a_condition(tmp_path):
  write_state_dict(str(tmp_path / 'w.npz'), BODY)
  with pytest.raises(UserError, match=r'2 missing \(classifier\.weight.*It has no classifier'):
    read_weights(tmp_path / 'w.npz', model={**SECTION, 'num_classes': 10})


@pytest.mark.parametrize('dialect', ['timm', 'torchvision', 'lukemelas', 'tf1', 'keras'])
def test_no_classifier_in_any_dialect(dialect):
  preset = 'torch' if dialect in ('timm', 'torchvision') else 'tf'
  model = create_model('tiny_efficientnet', attention='se', preset=preset)
  head = classifier_keys(model, dialect)
  state = {
    entry.key: np.broadcast_to(np.float32(0), entry.their_shape)
    for entry in entries(model, dialect)[0] if entry.key not in head
  }
  assert settle_classifier('x', model, state, dialect) == (state, 0)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_keras_without_top(tmp_path):
  keras = pytest.importorskip('keras')
  theirs = keras.applications.EfficientNetB0(
    include_top=False, weights=None, input_shape=(64, 64, 3)
  )
  theirs.save_weights(tmp_path / 'w.weights.h5')
  source = read_weights(
    tmp_path / 'w.weights.h5', model={'name': 'tf_efficientnet_b0'}, dialect='keras'
  )
  assert source.model['num_classes'] == 0
  kernel = theirs.get_layer('top_conv').get_weights()[0]
  np.testing.assert_array_equal(source.variables['params']['head']['kernel'], kernel[0, 0])

"""Every recipe against tests/support/published_trainings.py."""

import functools
import importlib
import json
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from configs import eca_resnet, resnet_rsb, tf_efficientnet
from ecanet_jax.data.augmentation import settings
from ecanet_jax.models import create_from_config, network
from ecanet_jax.models.convnet import BlockModule
from ecanet_jax.nn.parameter_shapes import trace_variables
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.tasks.classification import Classification
from ecanet_jax.training.optimizer import decayed, make_optimizer
from ecanet_jax.training.schedule import make_schedule, training_steps
from ecanet_jax.training.state import ema_decay
from tests.support.published_trainings import EXPECTED, IMAGES, RATES

# What other files' tests look at: not trainings on ImageNet.
ELSEWHERE = {
  'cifar', 'digit_scenes', 'digits', 'faster_rcnn', 'fashion_mnist', 'finetune', 'mask_rcnn',
  'smoke', 'transfer',
}


def load(expected):
  recipe, colon, which = expected.recipe.partition(':')
  config = importlib.import_module(f'configs.{recipe}').get_config(*([which] if colon else []))
  config.update_from_flattened_dict(expected.changes)
  return config


@functools.cache
def inside(section):
  """Shapes of the parameters, and the blocks' drop-paths, of a model section's JSON."""
  model, paths = create_from_config(json.loads(section)), {}

  def note(call, arguments, keywords, context):
    if isinstance(context.module, BlockModule) and context.method_name == '__call__':
      paths[context.module.name] = context.module.drop_path
    return call(*arguments, **keywords)

  with nn.intercept_methods(note):
    shapes = trace_variables(model)
  return shapes['params'], list(paths.values())


@pytest.fixture(scope='module', params=EXPECTED)
def case(request):
  """What is expected, the config, and the network's parameters as shapes and its drop-paths."""
  expected = EXPECTED[request.param]
  config = load(expected)
  return expected, config, *inside(config.model.to_json())


def test_learning_rate(case):
  expected, config, *_ = case
  assert config.batch_size == expected.batch
  per_epoch = IMAGES / expected.batch
  schedule = make_schedule(config, per_epoch, training_steps(config, per_epoch))
  wanted = RATES[expected.rates]
  assert len(wanted) == 20
  rates = [float(schedule(np.int32(step))) for step in wanted]
  np.testing.assert_allclose(rates, list(wanted.values()), rtol=1e-4, atol=1e-9)


def test_weight_decay(case):
  expected, config, params, _ = case
  section = config.optimizer
  assert (section.name, section.weight_decay) == expected.optimizer
  flags = decayed(params, biases=section.decay_biases, batch_norm=section.decay_batch_norm)
  sizes = jax.tree.map(lambda leaf: leaf.size, params)
  assert sum(jax.tree.leaves(sizes)) == expected.parameters
  counted = jax.tree.map(lambda flag, size: flag * size, flags, sizes)
  assert sum(jax.tree.leaves(counted)) == expected.decayed
  make_optimizer(config, lambda step: 0.1)


def test_every_scale_is_a_batch_norms(case):
  """The mask goes by names: what has a scale is BatchNorm, and nothing else ends in bn."""
  names = {path[-2:] for path in traverse_util.flatten_dict(case[2])}
  assert {name for name, leaf in names if leaf == 'scale'} == {
    name for name, _ in names if name.endswith('bn')
  }


def test_drop_path(case):
  expected, _, _, paths = case
  np.testing.assert_allclose(paths, expected.paths or [0.0] * len(paths), rtol=1e-5)


def test_average(case):
  expected, config, *_ = case
  assert bool(config.ema.decay) == bool(expected.ema)
  for step, decay in expected.ema.items():
    assert float(ema_decay(config, jnp.int32(step))) == pytest.approx(decay, rel=1e-6)


def test_images_and_targets(case):
  expected, config, *_ = case
  data = config.data
  assert (data.image_size, data.crop_fraction, data.interpolation) == expected.data
  assert (data.mean, data.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
  assert (data.area, data.aspect, data.flip) == ((0.08, 1.0), (0.75, 4 / 3), True)
  assert config.loss.label_smoothing == expected.smoothing
  assert config.model.num_classes == 1000
  Classification(config)


OFF_KEYS = {
  'augment.policy': 'none', 'augment.color_jitter': (0.0, 0.0, 0.0, 0.0), 'augment.lighting': 0.0,
  'augment.rotation': 0.0, 'augment.erasing': 0.0, 'mix.mixup_alpha': 0.0, 'mix.cutmix_alpha': 0.0,
}


def test_augmentation(case):
  expected, config, *_ = case
  settings.check(config)
  for name, value in {**OFF_KEYS, **expected.augment}.items():
    section, key = name.split('.')
    assert config[section][key] == value, name


def test_rmsprop_sgd_and_lamb_as_published(case):
  section = case[1].optimizer
  assert (section.momentum, section.nesterov, section.decoupled) == (0.9, False, False)
  assert (section.decay, section.b1, section.b2, section.eps) == (0.9, 0.9, 0.999, None)
  assert section.clip_norm == (1.0 if section.name == 'lamb' else 0.0)
  assert (section.agc, section.layer_decay) == (0.0, 1.0)


# Pixels, dropout, number of blocks and the last block's drop-path.
NETWORKS = {
  'b0': (224, 0.2, 16, 0.1875),
  'b1': (240, 0.2, 23, 0.191304),
  'b2': (260, 0.3, 23, 0.191304),
  'b3': (300, 0.3, 26, 0.192308),
  'b4': (380, 0.4, 32, 0.19375),
  'b5': (456, 0.4, 39, 0.194872),
  'b6': (528, 0.5, 45, 0.195556),
  'b7': (600, 0.5, 55, 0.196364),
}


@pytest.mark.parametrize('which', NETWORKS)
def test_tensorflows_efficientnets(which):
  config = tf_efficientnet.get_config(which)
  pixels, dropout, blocks, last = NETWORKS[which]
  model = create_from_config(config.model)
  rates = model.drop_path_rates()
  assert (config.data.image_size, model.dropout, len(rates)) == (pixels, dropout, blocks)
  assert rates[-1] == pytest.approx(last, rel=1e-5)
  assert config.data.crop_fraction == pytest.approx(pixels / (pixels + 32))
  assert network(config.model.name).image_size == pixels
  preset = model.make_layers().preset
  assert (preset.padding, preset.bn_eps, preset.bn_decay) == ('same', 1e-3, 0.99)


def test_dropout_and_batch_norm_of_the_others():
  facts = lambda name: create_from_config(load(EXPECTED[name]).model)
  dropout = {'timm b0': 0.2, 'eca resnet50': 0.0, 'eca mobilenetv2': 0.25, 'a2': 0.0, 'slides': 0.2}
  assert {name: facts(name).dropout for name in dropout} == dropout
  decay = {'timm b0': 0.9, 'eca resnet50': 0.9, 'eca mobilenetv2': 0.9, 'slides': 0.99}
  assert {name: facts(name).make_layers().preset.bn_decay for name in decay} == decay
  zero = {'a1': True, 'a3': True, 'eca resnet50': False}
  assert {name: facts(name).zero_init_last for name in zero} == zero


def test_strikes_back_has_its_loss():
  for which in ('a1', 'a2', 'a3'):
    config = resnet_rsb.get_config(which)
    assert (config.loss.name, config.loss.target_threshold) == ('bce', 0.2)


# Deviations of the initial values: sqrt(2 / (kh * kw * out)), 1 / sqrt(3 * 1000), ...
MOMENTS = {
  'tf b0': {
    'stem/kernel': 0.0833333, 'blocks_0_0/depthwise/kernel': 0.471405,
    'blocks_2_1/depthwise/kernel': 0.282843, 'blocks_6_0/project/kernel': 0.0790569,
    'head/kernel': 0.0395285, 'blocks_5_1/attention/reduce/kernel': 0.204124,
    'blocks_5_1/attention/expand/kernel': 0.0416667, 'blocks_5_1/attention/reduce/bias': 0,
    'classifier/kernel': 0.0182574, 'classifier/bias': 0, 'stem_bn/bias': 0,
  },
  'eca resnet18': {  # the classifier: 1 / sqrt(3 * 512), as PyTorch's own
    'stem/kernel': 0.0252538, 'blocks_0_0/conv_1/kernel': 0.0589256,
    'blocks_3_1/conv_2/kernel': 0.0208333, 'blocks_3_0/shortcut/kernel': 0.0625,
    'classifier/kernel': 0.0255155, 'classifier/bias': 0.0255155, 'blocks_0_0/conv_1_bn/bias': 0,
  },
  'eca mobilenetv2': {  # PyTorch's fan-out counts all groups of a depthwise convolution
    'stem/kernel': 0.0833333, 'blocks_0_0/depthwise/kernel': 0.0833333,
    'blocks_5_1/depthwise/kernel': 0.0152145, 'blocks_5_1/expand/kernel': 0.0456435,
    'head/kernel': 0.0395285, 'classifier/kernel': 0.01, 'classifier/bias': 0,
  },
}


def initial(model, paths):
  """The parameters of these names at the start."""

  def init(key):
    params = model.init(key, jnp.zeros((1, 32, 32, 3)), train=False)['params']
    flat = traverse_util.flatten_dict(params, sep='/')
    return {path: flat[path] for path in flat if path.endswith(tuple(paths))}

  quick = {'xla_backend_optimization_level': 0}
  return jax.device_get(jax.jit(init, compiler_options=quick)(jax.random.key(0)))


@pytest.mark.parametrize('name', MOMENTS)
def test_initial_moments(name):
  config = load(EXPECTED[name])
  model = create_from_config(config.model)
  flat = initial(model, MOMENTS[name])
  for path, deviation in MOMENTS[name].items():
    values = np.asarray(flat[path])
    # The deviation of n normal values has an error of 1 / sqrt(2 n): four times that.
    error = 4 * deviation / (2 * values.size) ** 0.5
    assert abs(values.std() - deviation) <= error, (path, values.std(), deviation)
    assert abs(values.mean()) <= 4 * deviation / values.size**0.5, path


def test_branches_that_begin_as_zero():
  for recipe, value in ((resnet_rsb, 0), (eca_resnet, 1)):
    config = recipe.get_config()
    config.model.name, config.model.drop_path = 'tiny_resnet', 0.0
    model = create_from_config(config.model)
    last = initial(model, ['conv_3_bn/scale'])
    assert last and all((scale == value).all() for scale in last.values())
    others = initial(model, ['conv_1_bn/scale', 'conv_2_bn/scale'])
    assert others and all((scale == 1).all() for scale in others.values())


def test_ecas_kernel_begins_as_pytorchs_1d_convolution():
  from ecanet_jax.nn.initializers import fan_in_uniform

  values = np.asarray(jax.jit(lambda key: fan_in_uniform(key, (5, 2000)))(jax.random.key(0)))
  assert np.abs(values).max() <= 5**-0.5
  assert values.std() == pytest.approx(0.258199, rel=0.05)  # 1 / sqrt(3 * 5)


def recipes():
  return {path.stem for path in pathlib.Path('configs').glob('[!_]*.py')}


def test_every_recipe_is_looked_at():
  assert {expected.recipe.partition(':')[0] for expected in EXPECTED.values()} | ELSEWHERE == (
    recipes()
  )


@pytest.mark.parametrize('name', sorted(recipes()))
def test_recipes_are_locked_and_documented(name):
  recipe = importlib.import_module(f'configs.{name}')
  config = recipe.get_config()
  assert config.is_locked
  assert f'--config=configs/{name}.py' in recipe.__doc__
  per_epoch = 100.0
  make_schedule(config, per_epoch, training_steps(config, per_epoch))
  if name not in ELSEWHERE:
    assert 'not measured' in recipe.__doc__.replace('\n', ' ')


@pytest.mark.parametrize(('recipe', 'text'), [
  (tf_efficientnet, "unknown network of configs/tf_efficientnet.py 'b9'. Did you mean"),
  (resnet_rsb, "unknown procedure of configs/resnet_rsb.py 'b9'. Known: a1, a2, a3."),
])
def test_what_stands_behind_the_colon(recipe, text):
  with pytest.raises(UserError) as error:
    recipe.get_config('b9')
  assert text in str(error.value)

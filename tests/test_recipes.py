"""Every recipe against values worked out by hand from its sources: nothing here computes them.

ImageNet has 1,281,167 training images. Sources: tensorflow/tpu (main.py, utils.py), timm (its
schedulers, param_groups_weight_decay), BangguWu/ECANet (main.py, light_main.py), the papers that
the recipes name.
"""

import dataclasses
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
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.tasks.classification import Classification
from ecanet_jax.training.optimizer import decayed, make_optimizer
from ecanet_jax.training.schedule import make_schedule, training_steps
from ecanet_jax.training.state import ema_decay

IMAGES = 1_281_167
# Learning rates at 20 steps of each training.
RATES = {
  'tf at 4096': {
    0: 0.0, 109: 0.0178528, 547: 0.0895918, 1106: 0.181149, 1565: 0.24087, 2299: 0.233644,
    3722: 0.226635, 5474: 0.206844, 8758: 0.183117, 13137: 0.152531, 18611: 0.123243,
    25179: 0.093693, 33937: 0.0650082, 41600: 0.0479386, 49264: 0.0353511, 60211: 0.0223861,
    71159: 0.0146145, 84296: 0.00844645, 97433: 0.00503261, 109464: 0.0030913,
  },
  'tf at 1024': {
    0: 0.0, 438: 0.00448153, 2189: 0.0223974, 4423: 0.0452553, 6262: 0.0602176, 9196: 0.0584111,
    14889: 0.0566587, 21895: 0.0517109, 35032: 0.0457793, 52548: 0.0381329, 74443: 0.0308107,
    100717: 0.0234233, 135749: 0.016252, 166402: 0.0119847, 197055: 0.00883777,
    240844: 0.00559653, 284634: 0.00365362, 337182: 0.00211161, 389730: 0.00125815,
    437855: 0.000772825,
  },
  'timm': {
    0: 1e-06, 751: 1e-06, 3753: 0.0192006, 7582: 0.0384002, 10735: 0.0451632, 15764: 0.0438083,
    25523: 0.0399827, 37534: 0.0364911, 60055: 0.0303961, 90082: 0.0245595, 127616: 0.0186709,
    172657: 0.0133553, 232712: 0.00845727, 285260: 0.00552121, 337808: 0.00371592,
    412876: 0.00214762, 487945: 0.00120399, 578027: 0.000597545, 668109: 0.000305738,
    750609: 0.000161271,
  },
  'eca-net': {
    0: 0.1, 500: 0.1, 2502: 0.1, 5055: 0.1, 7157: 0.1, 10510: 0.1, 17016: 0.1, 25023: 0.1,
    40036: 0.1, 60055: 0.1, 85078: 0.1, 115105: 0.1, 155141: 0.01, 190173: 0.01, 225205: 0.01,
    275251: 0.01, 325296: 0.001, 385351: 0.001, 445406: 0.001, 500406: 0.0001,
  },
  'senet': {
    0: 0.6, 125: 0.6, 626: 0.6, 1264: 0.6, 1789: 0.6, 2627: 0.6, 4254: 0.6, 6256: 0.6,
    10009: 0.6, 15014: 0.6, 21269: 0.6, 28776: 0.6, 38785: 0.06, 47543: 0.06, 56301: 0.06,
    68813: 0.06, 81324: 0.006, 96338: 0.006, 111351: 0.006, 125101: 0.0006,
  },
  'mobilenetv2': {
    0: 0.045, 5338: 0.045, 29691: 0.043218, 53916: 0.0415066, 76336: 0.0406764, 112102: 0.0382843,
    181499: 0.034606, 269910: 0.0300424, 430056: 0.0235747, 643584: 0.0170633, 910493: 0.0113916,
    1230785: 0.00701474, 1657841: 0.0036749, 2031514: 0.00208726, 2405188: 0.00118551,
    2939008: 0.000528383, 3472827: 0.000235501, 4113411: 8.92984e-05, 4753994: 3.38607e-05,
    5337662: 1.42042e-05,
  },
  'blog': {
    0: 0.0, 65: 0.000665068, 325: 0.00332534, 656: 0.00671207, 930: 0.00951559, 1365: 0.0139664,
    2210: 0.0226123, 3250: 0.0332534, 5200: 0.0532054, 7800: 0.0638908, 11050: 0.0629537,
    14950: 0.0606024, 20150: 0.0555644, 24700: 0.049654, 29250: 0.0427035, 35750: 0.0317904,
    42250: 0.0209023, 50050: 0.00969398, 57850: 0.00231096, 64994: 1.64733e-09,
  },
  'a1': {
    0: 0.0001, 375: 0.0001, 1877: 0.00304, 3791: 0.00499877, 5367: 0.00499781, 7882: 0.00499507,
    12762: 0.00498631, 18767: 0.00497124, 30027: 0.0049247, 45041: 0.00482926, 63808: 0.00465856,
    86329: 0.0043754, 116356: 0.00390543, 142630: 0.00342063, 168904: 0.00289151,
    206438: 0.00212242, 243972: 0.00137743, 289013: 0.000634278, 334054: 0.000153234,
    375304: 1.03426e-06,
  },
  'a2': {
    0: 0.0001, 188: 0.0001, 938: 0.00108, 1895: 0.00304, 2684: 0.00402, 3941: 0.00499507,
    6381: 0.00498631, 9384: 0.00496923, 15014: 0.00492147, 22521: 0.00482448, 31904: 0.00466513,
    43164: 0.00439261, 58178: 0.00390543, 71315: 0.00342063, 84452: 0.00289151,
    103219: 0.00213537, 121986: 0.00138913, 144507: 0.000625597, 167027: 0.000157764,
    187652: 1.13705e-06,
  },
  'a3': {
    0: 0.0001, 63: 0.0001, 313: 0.0001, 632: 0.00168, 895: 0.00168, 1314: 0.00326, 2127: 0.00484,
    3128: 0.00795076, 5005: 0.00787435, 7507: 0.00771914, 10635: 0.00744304, 14388: 0.00708217,
    19393: 0.00624855, 23772: 0.00547281, 28151: 0.00462616, 34406: 0.00349923, 40662: 0.0022976,
    48169: 0.00100043, 55676: 0.000237447, 62551: 2.97351e-06,
  },
}

# Rates of the 16 blocks of B0, 0.2 * i / 16, and of the 16 of ResNet-50 in timm, 0.05 * i / 15.
B0_PATHS = (
  0, 0.0125, 0.025, 0.0375, 0.05, 0.0625, 0.075, 0.0875, 0.1, 0.1125, 0.125, 0.1375, 0.15, 0.1625,
  0.175, 0.1875,
)
RSB_PATHS = (
  0, 0.00333333, 0.00666667, 0.01, 0.0133333, 0.0166667, 0.02, 0.0233333, 0.0266667, 0.03,
  0.0333333, 0.0366667, 0.04, 0.0433333, 0.0466667, 0.05,
)
FROM_TEN = {0: 0.1, 90: 0.91, 10**4: 0.999100899, 10**6: 0.9999}  # (1 + t) / (10 + t)
AT_ONCE = {0: 0.9999, 10**6: 0.9999}
OFF = {}


@dataclasses.dataclass(frozen=True)
class Expected:
  """What a training must be.

  Attributes:
    recipe: file of configs/, with what stands behind the colon.
    rates: a name of RATES.
    batch: images per step.
    decayed: parameters that decay, of `parameters`.
    parameters: of the network.
    ema: step -> decay; {} = off.
    paths: drop-path's rates; () = 0 in all blocks.
    optimizer: its name and weight decay.
    smoothing: of the labels.
    data: pixels, part of the image in evaluation, interpolation.
    changes: what the command line sets.
    augment: keys of `augment` and `mix` that are not off, beside crop and mirroring.
  """

  recipe: str
  rates: str
  batch: int
  decayed: int
  parameters: int
  ema: dict
  paths: tuple
  optimizer: tuple
  smoothing: float
  data: tuple
  changes: dict = dataclasses.field(default_factory=dict)
  augment: dict = dataclasses.field(default_factory=dict)


def changed(expected, **fields):
  return dataclasses.replace(expected, **fields)


RMSPROP, SGD = ('rmsprop_tf', 1e-5), ('sgd', 1e-4)
TF = Expected('tf_efficientnet', 'tf at 4096', 4096, 5_246_532, 5_288_548, FROM_TEN, B0_PATHS,
              RMSPROP, 0.1, (224, 0.875, 'bicubic'), augment={'augment.policy': 'autoaugment'})
PLAIN = changed(TF, rates='tf at 1024', batch=1024, augment={})
ECA = Expected('eca_resnet', 'eca-net', 256, 25_557_112, 25_557_112, OFF, (), SGD, 0.0,
               (224, 0.875, 'bilinear'))
NAME = lambda name: {'model.name': name}
# timm's rand-m9-mstd0.5 and rand-m7-mstd0.5-inc1; mixup or cutmix, one batch in two each.
TIMM_RAND = {
  'augment.policy': 'randaugment', 'augment.magnitude': 9.0, 'augment.magnitude_std': 0.5,
  'augment.increasing': False, 'augment.layers': 2, 'augment.probability': 0.5,
  'augment.erasing': 0.2, 'augment.erasing_mode': 'pixel',
}
RSB_RAND = {
  'augment.policy': 'randaugment', 'augment.magnitude': 7.0, 'augment.magnitude_std': 0.5,
  'augment.increasing': True, 'mix.mixup_alpha': 0.1, 'mix.cutmix_alpha': 1.0, 'mix.prob': 1.0,
  'mix.switch_prob': 0.5,
}
A2 = Expected('resnet_rsb:a2', 'a2', 2048, 25_502_912, 25_557_032, OFF, RSB_PATHS,
              ('lamb', 0.02), 0.0, (224, 0.95, 'bicubic'), augment=RSB_RAND)
EXPECTED = {
  'tf b0': TF,
  'tf b0 at 1024': changed(TF, rates='tf at 1024', batch=1024, changes={'batch_size': 1024}),
  'efficientnet_b0': changed(PLAIN, recipe='efficientnet_b0'),
  'eca_b0': changed(PLAIN, recipe='eca_b0', decayed=4_610_068, parameters=4_652_084),
  'slides': changed(TF, recipe='b0_variants', decayed=5_117_748, parameters=5_159_764),
  'blog': changed(PLAIN, recipe='b0_attention', rates='blog', decayed=4_610_068,
                  parameters=4_652_084),
  'blog, none': changed(PLAIN, recipe='b0_attention', rates='blog', decayed=4_609_992,
                        parameters=4_652_008, changes=NAME('b0_nose_all')),
  'timm b0': changed(TF, recipe='timm_b0', rates='timm', batch=768, decayed=5_236_192,
                     ema=AT_ONCE, augment=TIMM_RAND),
  'eca resnet50': ECA,
  'eca resnet18': changed(ECA, decayed=11_689_556, parameters=11_689_556,
                          changes=NAME('eca_resnet18_k3577')),
  'eca mobilenetv2': changed(
    ECA, recipe='eca_mobilenetv2', rates='mobilenetv2', batch=96, decayed=3_504_903,
    parameters=3_504_903, optimizer=('sgd', 4e-5),
  ),
  'senet': changed(ECA, recipe='senet', rates='senet', batch=1024, decayed=28_071_976,
                   parameters=28_071_976, augment={'augment.rotation': 10.0}),
  'a1': changed(A2, recipe='resnet_rsb:a1', rates='a1', optimizer=('lamb', 0.01), smoothing=0.1,
                augment={**RSB_RAND, 'mix.mixup_alpha': 0.2}),
  'a2': A2,
  'a3': changed(A2, recipe='resnet_rsb:a3', rates='a3', paths=(), data=(160, 0.95, 'bicubic'),
                augment={**RSB_RAND, 'augment.magnitude': 6.0}),
}
# What other files' tests look at: not trainings on ImageNet.
ELSEWHERE = {'digits', 'smoke', 'transfer', 'finetune', 'fashion_mnist'}


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
    shapes = jax.eval_shape(
      lambda: model.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)), train=False)
    )
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

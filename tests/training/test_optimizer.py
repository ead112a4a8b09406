"""Optimizers against PyTorch's and timm's over 20 steps, and the set of parameters that decay."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import timm.optim
import torch
from timm.utils.agc import adaptive_clip_grad

from ecanet_jax import create_model
from ecanet_jax.config import schema
from ecanet_jax.nn.parameter_shapes import variable_shapes
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.training.optimizer import clip_units, decayed, make_optimizer

STEPS = 20
RATE = [0.05 * 0.9**step for step in range(STEPS)]
# A 3x3 convolution, a depthwise one, a 1x1, ECA's, BatchNorm, the classifier.
SHAPES = {
  'stem': {'kernel': (3, 3, 2, 4)},
  'stem_bn': {'scale': (4,), 'bias': (4,)},
  'blocks_0_0': {'depthwise': {'kernel': (3, 3, 4)}, 'attention': {'kernel': (3,)}},
  'blocks_1_0': {'project': {'kernel': (4, 6)}},
  'classifier': {'kernel': (6, 5), 'bias': (5,)},
}
LAYOUT = {1: (0,), 2: (1, 0), 3: (2, 0, 1), 4: (3, 2, 0, 1)}  # PyTorch's: the output axis first


@pytest.fixture(scope='module')
def problem():
  """20 gradients and the parameters at the start, as trees."""
  random = np.random.RandomState(0)
  is_shape = lambda shape: isinstance(shape, tuple)
  draw = lambda: jax.tree.map(
    lambda shape: random.randn(*shape).astype(np.float32), SHAPES, is_leaf=is_shape
  )
  return [draw() for _ in range(STEPS)], draw()


def make_config(name, **keys):
  config = schema.get_config()
  config.optimizer.name = name
  for key, value in keys.items():
    config.optimizer[key] = value
  return config


def ours(problem, config, **arguments):
  gradients, params = problem
  tx = make_optimizer(config, lambda step: 0.05 * 0.9**step, **arguments)
  params = jax.tree.map(jnp.asarray, params)
  state, update = tx.init(params), jax.jit(tx.update)
  for gradient in gradients:
    updates, state = update(gradient, state, params)
    params = optax.apply_updates(params, updates)
  return jax.tree.map(np.asarray, params)


def torchs(problem, make, *, decay=0.0, batch_norm=True, biases=True, before=None):
  """The same parameters after PyTorch's optimizer; `before` is called with them at each step."""
  gradients, start = problem
  to_torch = lambda array: torch.tensor(array.transpose(LAYOUT[array.ndim]).copy())
  parameters = jax.tree.map(lambda array: torch.nn.Parameter(to_torch(array)), start)
  flags = decayed(start, biases=biases, batch_norm=batch_norm)
  groups = {True: [], False: []}
  jax.tree.map(lambda p, flag: groups[flag].append(p), parameters, flags)
  optimizer = make([
    {'params': groups[flag], 'weight_decay': decay * flag} for flag in (True, False) if groups[flag]
  ])
  for gradient, rate in zip(gradients, RATE, strict=True):
    for group in optimizer.param_groups:
      group['lr'] = rate
    for parameter, value in zip(jax.tree.leaves(parameters), jax.tree.leaves(gradient)):
      parameter.grad = to_torch(value)
    if before:
      before(parameters)
    optimizer.step()
  back = lambda p: p.detach().numpy().transpose(np.argsort(LAYOUT[p.ndim]))
  return jax.tree.map(back, parameters)


def same(a, b):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=2e-6), a, b)


SGD = lambda **options: lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.9, **options)
RMSPROP = lambda **options: lambda p: timm.optim.RMSpropTF(
  p, alpha=0.9, eps=1e-3, momentum=0.9, lr_in_momentum=True, **options
)
LAMB = lambda p: timm.optim.Lamb(p, lr=1.0, max_grad_norm=None)
LARS = lambda **options: lambda p: timm.optim.Lars(
  p, lr=1.0, momentum=0.9, trust_coeff=0.001, **options
)
CASES = {
  'rmsprop_tf': ('rmsprop_tf', {}, RMSPROP(), 1e-2),
  'rmsprop_tf decoupled': ('rmsprop_tf', {'decoupled': True}, RMSPROP(decoupled_decay=True), 1e-2),
  'sgd': ('sgd', {}, SGD(), 1e-2),
  'sgd nesterov': ('sgd', {'nesterov': True}, SGD(nesterov=True), 1e-2),
  'sgd decoupled': ('sgd', {'decoupled': True},
                    lambda p: timm.optim.SGDW(p, lr=1.0, momentum=0.9), 1e-2),
  'adamw': ('adamw', {}, lambda p: torch.optim.AdamW(p, lr=1.0), 5e-2),
  'lamb': ('lamb', {}, LAMB, 2e-2),
  'lars': ('lars', {}, LARS(), 1e-2),
  'lars nesterov': ('lars', {'nesterov': True}, LARS(nesterov=True), 1e-2),
}


@pytest.mark.parametrize(('case', 'which'), [
  *((case, 'all') for case in CASES),
  *((case, 'kernels') for case in ('rmsprop_tf', 'sgd decoupled', 'adamw', 'lamb', 'lars')),
])
def test_twenty_steps_are_pytorchs(problem, case, which):
  name, keys, make, decay = CASES[case]
  flags = {'biases': which == 'all', 'batch_norm': which == 'all'}
  config = make_config(
    name, weight_decay=decay, decay_biases=flags['biases'],
    decay_batch_norm=flags['batch_norm'], **keys,
  )
  same(ours(problem, config), torchs(problem, make, decay=decay, **flags))


def test_lamb_with_a_clipped_norm_is_timms_own_default(problem):
  config = make_config('lamb', weight_decay=2e-2, clip_norm=1.0, decay_biases=False)
  make = lambda p: timm.optim.Lamb(p, lr=1.0)
  same(ours(problem, config), torchs(problem, make, decay=2e-2, biases=False, batch_norm=False))


def test_adaptive_clipping_is_timms(problem):
  config = make_config('sgd', weight_decay=1e-2, agc=0.05, decay_batch_norm=True)
  rest = lambda parameters: jax.tree.leaves({**parameters, 'classifier': {}})
  clip = lambda parameters: adaptive_clip_grad(rest(parameters), clip_factor=0.05)
  theirs = torchs(problem, SGD(), decay=1e-2, before=clip)
  same(ours(problem, config), theirs)
  largest = np.abs(theirs['stem']['kernel'] - torchs(problem, SGD(), decay=1e-2)['stem']['kernel'])
  assert largest.max() > 0.1  # it does clip


def test_adaptive_clipping_leaves_the_classifier_alone(problem):
  gradient, params = problem[0][0], problem[1]
  tx = clip_units(1e-4)
  clipped, _ = tx.update(gradient, tx.init(params), params)
  np.testing.assert_array_equal(clipped['classifier']['kernel'], gradient['classifier']['kernel'])
  norms = lambda tree: np.linalg.norm(tree['blocks_0_0']['depthwise']['kernel'], axis=(0, 1))
  np.testing.assert_allclose(norms(clipped), 1e-4 * norms(params), rtol=1e-4)


def test_clipping_is_of_the_whole_gradient(problem):
  config = make_config('sgd', weight_decay=0.0, momentum=0.9, clip_norm=0.5)
  clip = lambda parameters: torch.nn.utils.clip_grad_norm_(jax.tree.leaves(parameters), 0.5)
  same(ours(problem, config), torchs(problem, SGD(), before=clip))


def test_each_stage_has_its_rate(problem):
  """The update of a stage is layer_decay to the power of its distance from the classifier."""
  depth = {'stem': 3, 'stem_bn': 3, 'blocks_0_0': 2, 'blocks_1_0': 1, 'classifier': 0}
  start, behind = problem[1], lambda path: depth[path[0]]
  for name in ('rmsprop_tf', 'adamw'):
    config = make_config(name, weight_decay=0.0)
    even = ours(problem, config, stages_behind=behind)
    config.optimizer.layer_decay = 0.5
    graded = ours(problem, config, stages_behind=behind)
    for module, stages in depth.items():
      jax.tree.map(
        lambda a, b, s, f=0.5**stages: np.testing.assert_allclose(
          a - s, f * (b - s), rtol=1e-3, atol=1e-5
        ),
        graded[module], even[module], start[module],
      )


def test_distance_from_the_head():
  model = create_model('tiny_efficientnet')
  modules = ('stem', 'stem_bn', 'blocks_0_0', 'blocks_1_1', 'blocks_2_0', 'head', 'classifier')
  assert [model.stages_behind([module]) for module in modules] == [4, 4, 3, 2, 1, 0, 0]


def test_which_parameters_decay():
  model = create_model('efficientnet_b0')
  shapes = variable_shapes(model)['params']
  with_biases = decayed(shapes, biases=True)
  assert with_biases['blocks_1_0']['attention']['reduce'] == {'kernel': True, 'bias': True}
  assert with_biases['blocks_1_0']['expand_bn'] == {'scale': False, 'bias': False}
  assert with_biases['classifier'] == {'kernel': True, 'bias': True}
  without = decayed(shapes, biases=False)
  assert without['classifier'] == {'kernel': True, 'bias': False}
  assert without['blocks_0_0']['depthwise'] == {'kernel': True}
  assert all(jax.tree.leaves(decayed(shapes, biases=True, batch_norm=True)))


@pytest.mark.parametrize(('key', 'value', 'text'), [
  ('name', 'sdg', "unknown optimizer.name 'sdg'. Did you mean 'sgd'"),
])
def test_bad_input(key, value, text):
  config = schema.get_config()
  config.optimizer[key] = value
  with pytest.raises(UserError, match=text.replace('.', r'\.')):
    make_optimizer(config, lambda step: 0.1)


def test_contradictions():
  with pytest.raises(UserError, match=r'clip_norm=1\.0 and optimizer\.agc=0\.01 are both given'):
    make_optimizer(make_config('sgd', clip_norm=1.0, agc=0.01), lambda step: 0.1)
  with pytest.raises(UserError, match=r'decoupled=True: lamb has its weight decay inside'):
    make_optimizer(make_config('lamb', decoupled=True), lambda step: 0.1)

"""Every family learns the digits, and every kind of attention learns in one of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sklearn.datasets

from ecanet_jax import create_model
from ecanet_jax.nn.attention import ATTENTION

RUNS = {
  'tiny_efficientnet': ('eca', 'se_var3'),
  'tiny_mec': ('se', 'se_gc2'),
  'tiny_compact': ('none',),
  'tiny_mobilenetv2': ('eca_circular', 'se_var1'),
  'tiny_resnet': ('cbam', 'a2', 'gsop', 'aa', 'eca_ns'),
  'tiny_vgg': ('se_var2',),
  'tiny_bn_inception': ('se_gc1',),
  'tiny_inception_resnet_v2': ('se_gc3',),
}
QUICK = ('tiny_compact',)  # the others: make test-all


@functools.cache
def digits(size):
  """256 digits, from 8 x 8 to `size` x `size` pixels, about -1 to 1, in three equal channels."""
  data = sklearn.datasets.load_digits()
  images = jnp.asarray(data.images[:256] / 8 - 1, jnp.float32)
  images = jax.image.resize(images, (256, size, size), 'bilinear')
  return np.repeat(np.asarray(images)[..., None], 3, -1), data.target[:256]


def losses(model, size, steps=30):
  """The loss at every step of Adam, all 256 images in batches of 32."""
  images, labels = digits(size)
  tx = optax.adam(0.01)

  def update(variables, state, x, y):
    def loss(params):
      logits, changed = model.apply(
        {**variables, 'params': params}, x, train=True, mutable=['batch_stats'],
        rngs={'dropout': jax.random.key(1)},
      )
      loss = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
      return loss, changed.get('batch_stats', {})

    (value, statistics), gradient = jax.value_and_grad(loss, has_aux=True)(variables['params'])
    updates, state = tx.update(gradient, state)
    params = optax.apply_updates(variables['params'], updates)
    return {'params': params, 'batch_stats': statistics}, state, value

  # Level 0, which the other tests compile with, gives CBAM's training step wrong gradients here
  # (jax 0.10.2 on a CPU): the loss stays at log(10), and falls at the default level.
  default = {'xla_backend_optimization_level': 3}
  init = lambda: model.init(jax.random.key(0), jnp.zeros((1, size, size, 3)), train=False)
  variables = jax.jit(init, compiler_options=default)()
  variables.setdefault('batch_stats', {})
  state = tx.init(variables['params'])
  step = jax.jit(update, compiler_options=default)
  values = []
  for i in range(steps):
    part = slice(i % 8 * 32, i % 8 * 32 + 32)
    variables, state, value = step(variables, state, images[part], labels[part])
    values.append(float(value))
  return values


@pytest.mark.parametrize(('name', 'kind'), [
  pytest.param(name, kind, marks=() if name in QUICK else pytest.mark.slow)
  for name, kinds in RUNS.items() for kind in kinds
])
def test_loss_falls_on_the_digits(name, kind):
  model = create_model(
    name, num_classes=10, dropout=0.0, drop_path=0.0, attention={'kind': kind}
  )
  size = 80 if 'inception_resnet' in name else 16
  values = losses(model, size)
  assert np.isfinite(values).all()
  assert np.mean(values[-5:]) < 0.75 * np.mean(values[:2]), values


def test_every_kind_is_in_a_family():
  assert {kind for kinds in RUNS.values() for kind in kinds} == set(ATTENTION)

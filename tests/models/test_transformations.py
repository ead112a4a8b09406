"""JAX's transformations of networks, and inputs that are none."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax import create_model
from ecanet_jax.runtime.errors import UserError
from tests.support.random_variables import random_variables

NETWORKS = ['resnet18', 'efficientnet_b0', 'eca_efficientnet_b0', 'cbam_resnet50', 'gsop_resnet50']
TINY = ['tiny_efficientnet', 'tiny_resnet', 'tiny_vgg', 'tiny_mec']
PIXELS = 32


def images(*shape):
  return jnp.asarray(np.random.default_rng(0).normal(size=(*shape, PIXELS, PIXELS, 3)), jnp.float32)


def functions(name):
  """A network's logits and loss, of variables and images, and the variables' shapes."""
  model = create_model(name, num_classes=7)
  init = lambda: model.init(jax.random.key(0), images(1), train=False)
  logits = functools.partial(model.apply, train=False)
  return model, logits, lambda v, x: jnp.square(logits(v, x)).sum(), jax.eval_shape(init)


@pytest.mark.parametrize('name', NETWORKS)
def test_networks_are_traced_under_every_transformation(name):
  _, logits, loss, variables = functions(name)
  x = images(2)
  assert jax.eval_shape(jax.vmap(logits, (None, 0)), variables, x[:, None]).shape == (2, 1, 7)
  per_image = jax.vmap(jax.grad(loss), (None, 0))
  gradients = jax.eval_shape(per_image, variables, x[:, None])
  assert jax.tree.all(jax.tree.map(lambda g, v: g.shape == (2, *v.shape), gradients, variables))
  value, tangent = jax.eval_shape(
    lambda v, x: jax.jvp(lambda x: logits(v, x), (x,), (x,)), variables, x
  )
  assert value.shape == tangent.shape == (2, 7)


@pytest.mark.parametrize('name', NETWORKS)
def test_networks_are_exported_for_three_platforms_with_any_batch(name):
  _, logits, _, variables = functions(name)
  (batch,) = jax.export.symbolic_shape('b')
  x = jax.ShapeDtypeStruct((batch, PIXELS, PIXELS, 3), jnp.float32)
  exported = jax.export.export(jax.jit(logits), platforms=['cpu', 'cuda', 'tpu'])(variables, x)
  assert exported.platforms == ('cpu', 'cuda', 'tpu')
  assert str(exported.out_avals[0].shape) == '(b, 7)'
  assert 'custom_call' not in exported.mlir_module().replace('custom_call @shape_assertion', '')


@pytest.mark.parametrize('name', TINY)
def test_transformations_compute_what_they_say(name):
  model, logits, loss, _ = functions(name)
  v, x = random_variables(model), images(3)
  quick = functools.partial(jax.jit, compiler_options={'xla_backend_optimization_level': 0})
  together = quick(logits)(v, x)
  np.testing.assert_allclose(
    quick(jax.vmap(logits, (None, 0)))(v, x[:, None])[:, 0], together, rtol=1e-4, atol=1e-5
  )
  gradient = quick(jax.grad(loss, 1))(v, x)
  singly = quick(jax.vmap(jax.grad(loss, 1), (None, 0)))(v, x[:, None])[:, 0]
  scale = float(jnp.abs(gradient).max())
  np.testing.assert_allclose(singly, gradient, rtol=1e-3, atol=1e-4 * scale)
  _, tangent = quick(lambda x, t: jax.jvp(lambda x: loss(v, x), (x,), (t,)))(x, gradient)
  assert tangent == pytest.approx(float(jnp.square(gradient).sum()), rel=1e-3)


@pytest.mark.parametrize('backend', ['xla', 'cpu'])
@pytest.mark.parametrize(('shape', 'advice'), [
  ((3,), 'the batch, height and width in pixels, and RGB.'),
  ((32, 3), 'the batch, height'),
  ((32, 32, 3), r'images\[None\] adds the batch axis'),
  ((1, 1, 32, 32, 3), 'the batch, height and width in pixels, and RGB.'),
  ((1, 32, 32, 4), 'the batch, height and width in pixels, and RGB.'),
  ((1, 0, 32, 3), 'the batch, height and width in pixels, and RGB.'),
])
def test_inputs_of_another_shape_are_one_line(shape, advice, backend):
  model = create_model('tiny_resnet', num_classes=7, backend=backend)
  variables = random_variables(model)
  with pytest.raises(UserError, match=advice) as caught:
    model.apply(variables, np.zeros(shape, np.float32), train=False)
  assert str(shape) in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('dtype', [np.uint8, np.int32, bool])
def test_images_that_are_no_floating_point_numbers_are_one_line(dtype):
  model = create_model('tiny_resnet', num_classes=7)
  with pytest.raises(UserError, match=r'must be floating point and normalised: \(images / 255'):
    model.apply(random_variables(model), np.zeros((1, 32, 32, 3), dtype), train=False)

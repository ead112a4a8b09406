"""Programs compiled for a TPU v5e without one: a fragment, blocks, a network's evaluation."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from ecanet_jax import create_model
from ecanet_jax.aot.hlo import parse
from ecanet_jax.aot.program import (
  CompileError,
  DoesNotFit,
  compile_lowered,
  compile_step,
  lower_step,
  topology_mesh,
)
from ecanet_jax.aot.report import batch_gathers, collectives, custom_calls, is_copy, make_report
from ecanet_jax.cli.config import load_config
from ecanet_jax.models.from_config import make_model
from ecanet_jax.runtime.sharding import by_image, replicated
from tests.support.aot import OWN_CALLS, needs_libtpu

pytestmark = needs_libtpu
TOPOLOGY, CHIPS, BATCH = 'v5e:2x2', 4, 512
# Bytes accessed over those of the input, from the programs of jax 0.10.2 and libtpu 0.0.42.1.
EXPANSION, B0, RESNET, EVALUATION = 37.3, 144.4, 23.9, 30.0


@pytest.fixture(scope='module')
def mesh():
  return topology_mesh(TOPOLOGY)


@pytest.fixture(scope='module')
def config():
  return load_config('configs/smoke.py', [
    f'--config.batch_size={BATCH}', '--config.compute_dtype=bfloat16'
  ])


def copied(hlo) -> int:
  """Bytes of the largest array that is only moved."""
  return max((each.bytes for each, _ in hlo.scheduled() if is_copy(hlo, each)), default=0)


def lower(function, mesh, shape=(BATCH, 64)):
  images = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=by_image(mesh))
  return jax.jit(function).lower(images)


@pytest.fixture(scope='module')
def evaluation(config):
  return compile_step(config, TOPOLOGY, 'eval')


def test_evaluation_step(evaluation):
  hlo, report = parse(evaluation.text), make_report(evaluation)
  assert (report.chips, report.warnings, report.faults) == (CHIPS, [], [])
  assert {(group.kind, group.dtype): group.count for group in report.collectives} == {
    ('all-reduce', 's32'): 1, ('all-reduce', 'f32'): 1
  }
  assert set(report.custom_calls) <= OWN_CALLS
  assert copied(hlo) < BATCH // CHIPS * 32  # less than a number for each pixel of a row
  assert report.bytes_accessed < 1.1 * EVALUATION * BATCH // CHIPS * 32**2 * 3
  assert sum(report.cycles.values()) > 0 < report.memory['peak'] < report.hbm
  assert report.cycles['convolution, backward'] == report.cycles['depthwise, backward'] == 0
  assert min(report.cycles[kind] for kind in (
    'convolution, forward', 'depthwise, forward', 'attention'
  )) > 0


class Block(nn.Module):
  """A block of a network, and the loss of its features."""

  network: str
  name_of_block: str

  @nn.compact
  def __call__(self, x):
    model = create_model(self.network).clone(dtype=jnp.bfloat16)
    block = next(block for block in model.blocks() if block.name == self.name_of_block)
    slot, layers = model.slot(block), model.make_layers()
    return jnp.square(block.module(slot, model.attention, layers, 0.0)(x, True)).sum()


class Expansion(nn.Module):
  """The expanding convolution of a block of B0 with BatchNorm and swish, and a loss."""

  @nn.compact
  def __call__(self, x):
    layers = create_model('eca_efficientnet_b0').clone(dtype=jnp.bfloat16).make_layers()
    return jnp.square(layers.conv_bn(x, 'expand', True, 144)).sum()


@pytest.mark.parametrize(('fragment', 'channels', 'norms', 'traffic'), [
  pytest.param(Expansion(), 24, 1, EXPANSION, id='1x1'),
  pytest.param(Block('eca_efficientnet_b0', 'blocks_1_1'), 24, 3, B0, id='eca_b0'),
  pytest.param(Block('eca_resnet50_k3557', 'blocks_2_1'), 1024, 3, RESNET, id='eca_resnet'),
])
def test_gradient_of(fragment, channels, norms, traffic, mesh):
  size = 14
  x = jax.ShapeDtypeStruct((BATCH, size, size, channels), jnp.bfloat16)
  variables = jax.eval_shape(fragment.init, jax.random.key(0), x)

  def loss(variables, x):
    value, changed = fragment.apply(variables, x, mutable=['batch_stats'])
    return value.astype(jnp.float32), changed

  def step(variables, x):
    return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(variables, x)

  everywhere, shared = replicated(mesh), by_image(mesh)
  compiled = compile_lowered(jax.jit(
    step, in_shardings=(everywhere, shared),
    out_shardings=((everywhere, everywhere), (everywhere, shared)),
  ).lower(variables, x))
  hlo = parse(compiled.as_text())
  assert batch_gathers(hlo, BATCH) == []
  assert set(custom_calls(hlo)) <= OWN_CALLS
  # Each BatchNorm forward and backward; the kernels' gradients together.
  assert {(group.kind, group.dtype): group.count for group in collectives(hlo)} == {
    ('all-reduce', 'f32'): 2 * norms, ('all-reduce', 'bf16'): 1
  }
  images = BATCH // CHIPS * size**2 * channels * 2
  assert copied(hlo) < images // 4
  assert compiled.cost_analysis()['bytes accessed'] < 1.1 * traffic * images


def test_a_cpu_process_lowers_the_program_of_the_mesh(config, mesh):
  assert jax.default_backend() == 'cpu'
  assert config.ops.backend == 'auto'
  assert make_model(config, config.model.num_classes, mesh).backend == 'tpu'
  for step in ('train', 'eval'):
    lowered, size = lower_step(config, mesh, step)
    assert size == (config.data.image_size,) * 2
    assert 'stablehlo.custom_call' not in lowered.as_text()


def test_a_gather_of_the_batch_is_found(mesh):
  gathered = lower(lambda x: jax.lax.with_sharding_constraint(x * 2, replicated(mesh)), mesh)
  hlo = parse(compile_lowered(gathered).as_text())
  (fault,) = batch_gathers(hlo, BATCH)
  assert f'all-gather f32[{BATCH},64]' in fault


@pytest.mark.parametrize(('function', 'shape', 'kind', 'text'), [
  (lambda x: jax.ffi.ffi_call('cpu_only', jax.ShapeDtypeStruct(x.shape, x.dtype))(x),
   (BATCH, 64), CompileError, "the custom call 'cpu_only' is for another platform."),
  (lambda x: jax.pure_callback(lambda a: a, jax.ShapeDtypeStruct(x.shape, x.dtype), x),
   (BATCH, 64), CompileError, 'the step calls back into Python on the host.'),
  (lambda x: x[:, ::-1] * 2, (4 * 3 * 2**20, 1024), DoesNotFit,
   'does not fit: it needs 24.00G of HBM and a chip has 15.75G.'),
])
def test_what_is_refused(mesh, function, shape, kind, text):
  with pytest.raises(CompileError) as error:
    compile_lowered(lower(function, mesh, shape))
  assert type(error.value) is kind and str(error.value) == text

"""Programs compiled for a TPU v5e without one. A fragment and the evaluation of a tiny network."""

import importlib.util

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from ecanet_jax import create_model
from ecanet_jax.aot.hlo import parse
from ecanet_jax.aot.program import (
  CompileError,
  compile_lowered,
  compile_step,
  lower_step,
  topology_mesh,
)
from ecanet_jax.aot.report import batch_gathers, collectives, custom_calls, is_copy, make_report
from ecanet_jax.cli.program import load_config
from ecanet_jax.models.from_config import make_model
from ecanet_jax.runtime.sharding import by_image, replicated

pytestmark = pytest.mark.skipif(
  importlib.util.find_spec('libtpu') is None, reason='needs libtpu: pip install libtpu==0.0.42.1'
)
TOPOLOGY, CHIPS, BATCH = 'v5e:2x2', 4, 512
# Bytes that the fragment accesses, over those of its input; read from the program compiled with
# jax 0.10.2 and libtpu 0.0.42.1. A copy of the features inside is 12 more.
BYTES = 144.4
# What XLA for TPUs itself puts into programs.
OWN_CALLS = {
  'AllocateBuffer', 'AsyncCollectiveDone', 'AsyncCollectiveStart', 'ConcatBitcast',
  'GatherScatterIndicesBitpacked', 'SliceBitcast',
}


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
  assert sum(report.cycles.values()) > 0 < report.memory['peak'] < report.hbm
  assert report.cycles['convolution, backward'] == report.cycles['depthwise, backward'] == 0
  assert min(report.cycles[kind] for kind in (
    'convolution, forward', 'depthwise, forward', 'attention'
  )) > 0


class Fragment(nn.Module):
  """A block of ECA-B0 with 24 channels in and 144 inside, and the loss of its features."""

  @nn.compact
  def __call__(self, x):
    model = create_model('eca_efficientnet_b0').clone(dtype=jnp.bfloat16)
    block = next(block for block in model.blocks() if block.name == 'blocks_1_1')
    slot, layers = model.slot(block), model.make_layers()
    return jnp.square(block.module(slot, model.attention, layers, 0.0)(x, True)).sum()


def test_fragment(mesh):
  fragment, size = Fragment(), 14
  x = jax.ShapeDtypeStruct((BATCH, size, size, 24), jnp.bfloat16)
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
  # Three BatchNorms, each forward and backward; the gradients together.
  assert {(group.kind, group.dtype): group.count for group in collectives(hlo)} == {
    ('all-reduce', 'f32'): 6, ('all-reduce', 'bf16'): 1
  }
  images = BATCH // CHIPS * size**2 * 24 * 2
  assert copied(hlo) < images // 4
  assert compiled.cost_analysis()['bytes accessed'] < 1.1 * BYTES * images


def test_a_cpu_process_lowers_the_program_of_the_mesh(config, mesh):
  assert jax.default_backend() == 'cpu'
  assert config.ops.backend == 'auto'
  assert make_model(config, config.model.num_classes, mesh).backend == 'tpu'
  for step in ('train', 'eval'):
    lowered, size = lower_step(config, mesh, step)
    assert size == config.data.image_size
    assert 'stablehlo.custom_call' not in lowered.as_text()


def test_a_gather_of_the_batch_is_found(mesh):
  gathered = lower(lambda x: jax.lax.with_sharding_constraint(x * 2, replicated(mesh)), mesh)
  hlo = parse(compile_lowered(gathered).as_text())
  (fault,) = batch_gathers(hlo, BATCH)
  assert f'all-gather f32[{BATCH},64]' in fault


@pytest.mark.parametrize(('function', 'shape', 'text'), [
  (lambda x: jax.ffi.ffi_call('cpu_only', jax.ShapeDtypeStruct(x.shape, x.dtype))(x),
   (BATCH, 64), "the custom call 'cpu_only' is for another platform."),
  (lambda x: jax.pure_callback(lambda a: a, jax.ShapeDtypeStruct(x.shape, x.dtype), x),
   (BATCH, 64), 'the step calls back into Python on the host.'),
  (lambda x: x[:, ::-1] * 2, (4 * 3 * 2**20, 1024),
   'does not fit: it needs 24.00G of HBM and a chip has 15.75G.'),
])
def test_what_is_refused(mesh, function, shape, text):
  with pytest.raises(CompileError) as error:
    compile_lowered(lower(function, mesh, shape))
  assert str(error.value) == text

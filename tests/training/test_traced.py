"""A training step's trace is kept for the next start, and only for the same step."""

import importlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import smoke
from ecanet_jax import data
from ecanet_jax.runtime import sharding
from ecanet_jax.tasks.classification import Classification
from ecanet_jax.training import traced
from ecanet_jax.training.state import init_state
from ecanet_jax.training.step import make_train_step
from tests.support.saved import Small

KEYS = ('jax_enable_compilation_cache', 'jax_compilation_cache_dir')


@pytest.fixture
def folder(monkeypatch, tmp_path):
  """Where traces are kept; compiled programs are not."""
  # What runs tests in parallel looks like an interactive session.
  monkeypatch.setattr(sys.modules['__main__'], '__file__', __file__, raising=False)
  before = {key: getattr(jax.config, key) for key in KEYS}
  jax.config.update('jax_enable_compilation_cache', False)
  keep_in(tmp_path)
  yield tmp_path
  for key, value in before.items():
    jax.config.update(key, value)


def keep_in(directory):
  jax.config.update('jax_compilation_cache_dir', directory and str(directory))


class Step:
  """A function that counts how often it is traced."""

  def __init__(self, factor=2.0, callback=False):
    self.factor, self.callback, self.traces = factor, callback, 0

  __name__ = 'step'

  def __call__(self, state, batch):
    self.traces += 1
    x = batch['x']
    if self.callback:
      x = jax.pure_callback(np.asarray, jax.ShapeDtypeStruct(x.shape, x.dtype), x)
    return {'w': state['w'] + self.factor * x.sum()}, {'loss': state['w'].sum()}


def run(facts='a', rows=3, **options):
  """How often a start traces, and what its step gives."""
  step = Step(**options)
  kept = traced.Kept(step, facts, donate_argnums=0)
  kept.lower({'w': jnp.ones(2)}, {'x': jnp.ones(rows)}).compile()
  for _ in range(2):
    new, metrics = kept({'w': jnp.ones(2)}, {'x': jnp.ones(rows)})
  assert metrics['loss'] == 2.0
  return step.traces, new['w'].tolist()


def test_the_next_start_does_not_trace(folder):
  assert [run() for _ in range(3)] == [(1, [7.0, 7.0]), (0, [7.0, 7.0]), (0, [7.0, 7.0])]
  assert len(list(folder.iterdir())) == 1


def test_another_step_is_traced(folder, monkeypatch, tmp_path_factory):
  run()
  assert run(facts='b', factor=3.0) == (1, [10.0, 10.0])
  assert run(rows=4) == (1, [9.0, 9.0])
  with monkeypatch.context() as environment:
    environment.setenv('XLA_FLAGS', '--xla_cpu_enable_fast_math=false')
    assert run()[0] == 1
  assert run()[0] == 0
  sources = tmp_path_factory.mktemp('sources')
  monkeypatch.syspath_prepend(sources)
  for number in (1, 2):  # a user's own module, changed
    sources.joinpath('users_own_network.py').write_text(f'VALUE = {number}')
    importlib.import_module('users_own_network')
    assert [run()[0], run()[0]] == [1, 0]
  del sys.modules['users_own_network']


@pytest.mark.parametrize('damage', [
  lambda data: data[:-7], lambda data: b'', lambda data: data[:80] + b'!' + data[81:],
], ids=['cut', 'empty', 'changed'])
def test_a_damaged_trace_is_replaced(folder, damage):
  run()
  file, = folder.iterdir()
  whole = file.read_bytes()
  file.write_bytes(damage(whole))
  assert run() == (1, [7.0, 7.0])
  assert [run()[0], list(folder.iterdir())] == [0, [file]]


def test_nothing_is_kept(folder, monkeypatch):
  assert run(callback=True) == (2, [7.0, 7.0])  # it is tried
  assert run(callback=True)[1] == [7.0, 7.0]
  with monkeypatch.context() as interactive:
    interactive.delattr(sys.modules['__main__'], '__file__')
    assert [run()[0], run()[0]] == [1, 1]
  for directory in (None, 'gs://bucket/cache', str(folder / 'missing')):
    keep_in(directory)
    assert [run(), run()] == 2 * [(1, [7.0, 7.0])]
  assert not list(folder.iterdir())


@pytest.mark.parametrize('devices', [1, 8])
def test_training_steps_have_the_same_bits(folder, devices):
  config = smoke.get_config()
  config.data.image_size, config.batch_size = 16, 16
  mesh, model, task, tx = sharding.make_mesh(devices), Small(), Classification(config), optax.adam(
    1e-3)
  ends = []
  for facts in ('', 'facts', 'facts'):
    state = init_state(model, tx, config, task.example(), mesh)
    step = make_train_step(
      model, task, tx, lambda step: jnp.float32(1e-3), config, mesh, facts=facts
    )
    for batch in data.open(config).train(0, 3):
      state, metrics = step(state, sharding.put_batch(batch, mesh))
    ends.append(jax.device_get((state, metrics)))
  assert len(list(folder.iterdir())) == 1
  for end in ends[1:]:
    assert jax.tree.structure(end) == jax.tree.structure(ends[0])
    jax.tree.map(np.testing.assert_array_equal, end, ends[0])

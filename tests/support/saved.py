"""A small training state with its checkpoints, for what happens to them."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from configs import smoke
from ecanet_jax.checkpoints.manager import Checkpoints
from ecanet_jax.config.trees import plain
from ecanet_jax.nn.layers import PRESET, BatchNorm
from ecanet_jax.runtime import sharding
from ecanet_jax.training.state import TrainState, init_state

MESH = sharding.make_mesh(1)
QUICK = {'xla_backend_optimization_level': 0}


class Small(nn.Module):
  """What a step can go wrong with, compiled in a moment: convolution, BatchNorm, classifier."""

  @nn.compact
  def __call__(self, x, train):
    x = nn.Conv(8, (3, 3), 2, use_bias=False, name='conv')(x)
    x = BatchNorm(PRESET['torch'], name='bn')(x, train, 'relu')
    return nn.Dense(10, name='classifier')(x.mean((1, 2)))


@functools.cache
def fresh_state():
  """A state of the small network on one device: with EMA and an optimizer's moments."""
  config = smoke.get_config()
  return init_state(Small(), optax.sgd(0.1, 0.9), config, jnp.zeros((1, 16, 16, 3)), MESH)


def meta():
  """As the trainer's."""
  config = plain(smoke.get_config())
  return {'config': config, 'last': {}, 'best': {}, 'stale': 0, 'bad_steps': [1, 0]}


def save(workdir, state, *steps):
  """Saves the state as each of these steps, its values changed a little from one to the next."""
  checkpoints = Checkpoints(workdir, keep=3)
  for step in steps:
    checkpoints.save(step, at(state, step).items(), meta(), None)
  checkpoints.wait()
  checkpoints.close()


def at(state, step):
  """The state as `save` saves it at a step."""
  change = lambda leaf: leaf + leaf.dtype.type(step)
  return state.replace(step=jnp.int32(step), variables=jax.tree.map(change, state.variables))


def restore(workdir, state):
  """The newest sound step, as numpy arrays."""
  checkpoints = Checkpoints(workdir, keep=3)
  try:
    like = jax.eval_shape(lambda: state).items()
    found = checkpoints.restore(checkpoints.latest(), like, sharding.replicated(MESH))
    return jax.device_get(TrainState.of(found))
  finally:
    checkpoints.close()


def same(one, other):
  """Every value of two states is the same, bit for bit."""
  pairs = zip(jax.tree.leaves(one), jax.tree.leaves(jax.device_get(other)), strict=True)
  return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)

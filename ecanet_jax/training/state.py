"""The state of a training between two steps."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh

from ecanet_jax.nn.initializers import initial_values
from ecanet_jax.runtime.sharding import put_everywhere, replicated

Tree = dict[str, Any]


@flax.struct.dataclass
class TrainState:
  """The state of a training after `step` updates.

  Attributes:
    step: int32 scalar; the data pipeline resumes from it, too.
    variables: {'params', 'batch_stats'} as trained.
    ema: the same tree, averaged over steps; {} without EMA.
    opt_state: of the optax transformation.
    rng: data (uint32) of the training's random key; step s uses fold_in(key, s).
  """

  step: jax.Array
  variables: Tree
  ema: Tree
  opt_state: Any
  rng: jax.Array

  def items(self) -> dict[str, Tree]:
    """The state as the items of a checkpoint; without EMA there is no 'ema'."""
    optimizer = {'step': self.step, 'rng': self.rng, 'opt_state': self.opt_state}
    items = {'variables': self.variables, 'optimizer': optimizer}
    return items | ({'ema': self.ema} if self.ema else {})

  @classmethod
  def of(cls, items: dict[str, Tree]) -> 'TrainState':
    """The state from the items of a checkpoint."""
    return cls(variables=items['variables'], ema=items.get('ema', {}), **items['optimizer'])

  def for_evaluation(self) -> Tree:
    """The averaged variables if there are any, else the trained ones."""
    return self.ema or self.variables


def init_state(
  model, tx, config, example, mesh: Mesh, loaded: Mapping[str, np.ndarray] | None = None
) -> TrainState:
  """A fresh state. Do not call it under jit.

  Args:
    model: the flax module.
    tx: optax transformation.
    config: the whole config.
    example: images `[1, H, W, 3]`.
    mesh: every device gets a copy.
    loaded: arrays by path ('params/stem/kernel') that replace random ones.
  """
  drawn = initial_values(lambda: _variables(model, config, example))
  flat = {**flatten_dict(drawn, sep='/'), **(loaded or {})}
  variables = unflatten_dict(put_everywhere(flat, mesh), sep='/')
  start = jax.jit(partial(_state, tx, config), out_shardings=replicated(mesh))
  return start({'batch_stats': {}, **variables})


def state_shapes(model, tx, config, example) -> TrainState:
  """The shapes and types of `init_state`'s arrays."""
  return jax.eval_shape(lambda: _state(tx, config, _variables(model, config, example)))


def _variables(model, config, example) -> Tree:
  init_key, _ = jax.random.split(jax.random.key(config.seed))
  variables = model.init(init_key, example, train=False)
  return {'params': variables['params'], 'batch_stats': variables.get('batch_stats', {})}


def _state(tx, config, variables: Tree) -> TrainState:
  _, rng = jax.random.split(jax.random.key(config.seed))
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    variables=variables,
    ema=jax.tree.map(jnp.array, variables) if config.ema.decay else {},
    opt_state=tx.init(variables['params']),
    rng=jax.random.key_data(rng),
  )


def ema_decay(config, step: jax.Array) -> jax.Array:
  """Decay of the average at a step; with warm-up min(decay, (1 + step) / (10 + step)).

  This is TensorFlow's ExponentialMovingAverage with num_updates; it makes early averages usable.
  """
  decay = jnp.float32(config.ema.decay)
  if config.ema.warmup:
    decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
  return decay

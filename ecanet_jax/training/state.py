"""Everything that a training carries from one step to the next."""

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
    step: int32 scalar; the data pipeline starts from it, too.
    variables: {'params', 'batch_stats'} as trained.
    ema: the same tree, averaged over steps; {} when the config has no EMA.
    opt_state: of the optax transformation.
    rng: key data (uint32) of the training's key; step s uses fold_in(key, s).
  """

  step: jax.Array
  variables: Tree
  ema: Tree
  opt_state: Any
  rng: jax.Array

  def for_evaluation(self) -> Tree:
    """The averaged variables where there are any, else those as trained."""
    return self.ema or self.variables


def init_state(
  model, tx, config, example, mesh: Mesh, loaded: Mapping[str, np.ndarray] | None = None
) -> TrainState:
  """A fresh state; not for a function that is traced.

  Args:
    model: the flax module.
    tx: optax transformation.
    config: the whole config.
    example: images `[1, H, W, 3]`.
    mesh: whose devices all have a copy.
    loaded: arrays by path ('params/stem/kernel') that are not to be random.
  """
  drawn = initial_values(lambda: _variables(model, config, example))
  flat = {**flatten_dict(drawn, sep='/'), **(loaded or {})}
  variables = unflatten_dict(put_everywhere(flat, mesh), sep='/')
  # Run once: on a CPU, compiling it well is most of what it would take.
  quick = {'xla_backend_optimization_level': 0} if jax.default_backend() == 'cpu' else None
  make = partial(_state, tx, config)
  start = jax.jit(make, out_shardings=replicated(mesh), compiler_options=quick)
  return start({'batch_stats': {}, **variables})


def state_shapes(model, tx, config, example) -> TrainState:
  """Shapes and types of `init_state`'s arrays; computes nothing."""
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
  """Decay of the average at a step: min(decay, (1 + step) / (10 + step)) while it warms up.

  TensorFlow's ExponentialMovingAverage with num_updates, which keeps the first epochs usable.
  """
  decay = jnp.float32(config.ema.decay)
  if config.ema.warmup:
    decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
  return decay

"""Everything that a training carries from one step to the next."""

from collections.abc import Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

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
  model, tx, config, example, loaded: Mapping[str, jax.Array] | None = None
) -> TrainState:
  """A fresh state; call under jit with the mesh's shardings.

  Args:
    model: the flax module.
    tx: optax transformation.
    config: the whole config.
    example: images `[1, H, W, 3]`.
    loaded: arrays by path ('params/stem/kernel') that are not to be random.
  """
  init_key, rng = jax.random.split(jax.random.key(config.seed))
  variables = model.init(init_key, example, train=False)
  variables = {
    'params': variables['params'], 'batch_stats': variables.get('batch_stats', {})
  }
  if loaded:
    flat = flatten_dict(variables, sep='/', keep_empty_nodes=True)
    variables = unflatten_dict({**flat, **loaded}, sep='/')
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

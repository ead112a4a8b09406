"""The training step: one update of the state, compiled once for each batch shape."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from ecanet_jax.data.sources.on_device import Resident, select
from ecanet_jax.runtime.sharding import by_image, put_everywhere, replicated
from ecanet_jax.tasks.distillation import Teacher
from ecanet_jax.tasks.task import Batch, Task
from ecanet_jax.training.accumulation import mean_of_parts
from ecanet_jax.training.faults.nonfinite import choose, finite
from ecanet_jax.training.schedule import Schedule
from ecanet_jax.training.state import TrainState, ema_decay

Metrics = dict[str, jax.Array]

# Disables a pass of XLA for CPUs that merges remat's recomputation with the first computation, and
# so keeps the values in memory.
KEEP_REMAT = {'xla_disable_hlo_passes': 'cse_barrier_expander'}


def make_train_step(
  model: nn.Module,
  task: Task,
  tx: optax.GradientTransformation,
  schedule: Schedule,
  config,
  mesh: Mesh,
  resident: Resident | None = None,
  teacher: Teacher | None = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
  """The compiled training step; the state is donated, the batch is divided over the devices.

  The step is written for one global batch: loss, gradient and (with bn_groups=1) BatchNorm
  statistics are those of one large device. XLA adds the communication.

  - With `resident`, its images are on every device, and a batch says which of them to take.
  - With a `teacher`, its logits for the same images are a part of the loss.
  - With `config.accumulate` parts, the batch is one of `put_batch` with as many parts, computed in
    turn. This saves memory; only rounding and random layers differ.
  - With `optimizer.sam_rho`, the gradient is that of `ascended` parameters. The loss and
    BatchNorm's statistics stay those of the parameters themselves, which are the ones that are
    evaluated.
  - A step that is not finite (`nonfinite.finite`) changes only the step number.

  Returns:
    (state, batch) -> (next state, float32 scalars): loss, grad_norm (before clipping), lr, left_out
    (1 for a step that changed nothing), and loss_NAME for each part of the loss. Without `resident`
    and `teacher` it is a function of `jax.jit`.
  """

  parts = config.accumulate
  if parts > 1 and not config.model.frozen_bn:
    model = model.clone(bn_groups=model.bn_groups // parts)

  def train_step(state: TrainState, batch: Batch, held: dict | None = None):
    params = state.variables['params']
    key = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)

    def gradient_of(params, batch: Batch, key: jax.Array):
      if resident:
        chosen = select(held['resident'], batch)
        batch = jax.lax.with_sharding_constraint(chosen, by_image(mesh))
      batch = task.mix(batch, jax.random.fold_in(key, 1))
      answers = teacher.outputs(held['teacher'], batch) if teacher else None

      def loss_of(params):
        apply = functools.partial(
          model.apply, {'params': params, 'batch_stats': state.variables['batch_stats']},
          mutable=['batch_stats'], rngs={'dropout': key},
        )
        outputs, changed = task.training_outputs(apply, batch, key)
        loss = task.loss(outputs, batch)
        if teacher:
          loss = teacher.loss(loss, outputs, answers)
        return loss, (changed.get('batch_stats', {}), task.loss_parts(outputs))

      return jax.value_and_grad(loss_of, has_aux=True)(params)

    def gradient_at(params):
      return mean_of_parts(functools.partial(gradient_of, params), parts, batch, key)

    (loss, (batch_stats, loss_parts)), gradient = gradient_at(params)
    if config.optimizer.sam_rho:
      _, gradient = gradient_at(ascended(params, gradient, config.optimizer.sam_rho))
    updates, opt_state = tx.update(gradient, state.opt_state, params)
    variables = {'params': optax.apply_updates(params, updates), 'batch_stats': batch_stats}
    ema = state.ema
    if ema:
      decay = ema_decay(config, state.step)
      ema = jax.tree.map(lambda mean, new: decay * mean + (1 - decay) * new, ema, variables)
    grad_norm = optax.tree.norm(gradient)
    ok = finite(loss, grad_norm, variables)
    metrics = {
      'loss': loss, 'grad_norm': grad_norm, 'lr': schedule(state.step), 'left_out': ~ok,
      **{f'loss_{name}': value for name, value in loss_parts.items()},
    }
    metrics = jax.tree.map(lambda value: value.astype(jnp.float32), metrics)
    new = state.replace(variables=variables, ema=ema, opt_state=opt_state)
    return choose(ok, new, state).replace(step=state.step + 1), metrics

  rematerialises = config.ops.remat != 'none' and mesh.devices.flat[0].platform == 'cpu'
  options = {
    'donate_argnums': 0, 'out_shardings': replicated(mesh),
    'compiler_options': KEEP_REMAT if rematerialises else None,
  }
  shardings = replicated(mesh), by_image(mesh, parts)
  held = {'resident': put_everywhere(resident.arrays, mesh)} if resident else {}
  if teacher:
    held['teacher'] = teacher.variables
  if not held:
    return jax.jit(train_step, in_shardings=shardings, **options)
  compiled = jax.jit(train_step, in_shardings=(*shardings, replicated(mesh)), **options)
  return lambda state, batch: compiled(state, batch, held)


def ascended(params, gradient, rho: float):
  """The parameters w + rho * g / |g|: the highest loss within distance rho, to first order.

  Foret et al., "Sharpness-Aware Minimization" (2021, 2010.01412), Algorithm 1 with p = 2. The
  gradient and its norm are those of the whole batch, over all parts and devices (the paper's m is
  the batch size). Unlike optax.contrib.sam it leaves the optimizer's state as it is, so a training
  can resume with SAM or without.

  Args:
    params: the parameters w.
    gradient: g, the gradient of the loss at w. It is 0 for frozen parameters, which do not move.
    rho: `optimizer.sam_rho`.
  """
  scale = rho / (optax.tree.norm(gradient) + 1e-12)
  return jax.tree.map(lambda weight, slope: weight + scale * slope, params, gradient)

"""Optimizers: clipping, L2, then RMSProp with TensorFlow's semantics or SGD."""

from collections.abc import Callable

import jax
import optax

from ecanet_jax.errors import UserError, lookup
from ecanet_jax.training.schedule import Schedule


def make_optimizer(
  config, schedule: Schedule, is_frozen: Callable[[str], bool] = lambda module: False
) -> optax.GradientTransformation:
  """The gradient transformation of `config.optimizer`.

  Order: clip the loss's gradient by its norm, add weight_decay * parameter (L2, as a term of the
  loss would), then the named rule; nothing at all for frozen parameters.

  Args:
    config: the whole config.
    schedule: the learning rate of a step.
    is_frozen: whether a top-level module's parameters stay as they are.

  Raises:
    UserError: an unknown optimizer or an impossible number.
  """
  section = config.optimizer
  rule = lookup(OPTIMIZERS, section.name, 'optimizer.name')
  for key in ('weight_decay', 'clip_norm'):
    if section[key] < 0:
      raise UserError(f'optimizer.{key}={section[key]} must be at least 0.')
  steps = []
  if section.clip_norm:
    steps.append(optax.clip_by_global_norm(section.clip_norm))
  if section.weight_decay:
    mask = lambda params: decayed(params, biases=section.decay_biases)
    steps.append(optax.add_decayed_weights(section.weight_decay, mask))
  steps.append(rule(section, schedule))
  if config.model.frozen_stages:
    frozen = lambda params: jax.tree_util.tree_map_with_path(
      lambda path, _: is_frozen(path[0].key), params
    )
    steps.append(optax.masked(optax.set_to_zero(), frozen))
  return optax.chain(*steps)


def decayed(params, *, biases: bool):
  """Tree of booleans: kernels always, biases on request, BatchNorm never."""

  def decays(path, leaf):
    *_, module, name = (key.key for key in path)
    return name == 'kernel' or (name == 'bias' and biases and not module.endswith('bn'))

  return jax.tree_util.tree_map_with_path(decays, params)


def _rmsprop_tf(section, schedule):
  # TensorFlow's: the mean square starts at 1, eps is inside the root, and the learning rate is
  # multiplied into the momentum buffer.
  return optax.rmsprop(
    schedule, decay=section.decay, eps=section.eps, initial_scale=1.0, eps_in_sqrt=True,
    momentum=section.momentum,
  )


def _sgd(section, schedule):
  return optax.sgd(schedule, momentum=section.momentum or None, nesterov=section.nesterov)


OPTIMIZERS = {'rmsprop_tf': _rmsprop_tf, 'sgd': _sgd}

"""Optimizers: clipping, weight decay, update rule, and learning rates by stage."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax

from ecanet_jax.detection.from_config import is_detector
from ecanet_jax.runtime.errors import UserError, lookup
from ecanet_jax.training.schedule import Schedule

Path = Sequence[str]  # names of a parameter, such as ('blocks_0_0', 'conv_1', 'kernel')


@dataclasses.dataclass(frozen=True)
class Rule:
  """A named update rule.

  Attributes:
    make: (config's section, eps, schedule, mask) -> optax transformation; mask maps parameters to
      booleans that say which of them decay.
    eps: default if the config sets none.
    decay: how weights decay. 'gradient': added to the gradient (L2), or subtracted from the
      parameter if `decoupled`. 'parameter': always subtracted. 'inside': by the rule itself.
  """

  make: Callable[..., optax.GradientTransformation]
  eps: float = 0.0
  decay: str = 'gradient'


def make_optimizer(
  config,
  schedule: Schedule,
  is_frozen: Callable[[Path], bool] = lambda path: False,
  stages_behind: Callable[[Path], int] = lambda path: 0,
) -> optax.GradientTransformation:
  """The gradient transformation of `config.optimizer`.

  Its parts, in this order: clipping of the loss's gradient; weight_decay * parameter (L2); the
  named rule; decoupled decay; the factor of each stage; zero for frozen parameters.

  Args:
    config: the whole config.
    schedule: the learning rate of a step.
    is_frozen: whether a parameter is frozen, by its path.
    stages_behind: number of stages between a parameter and the head, by its path.

  Raises:
    UserError: an unknown optimizer, or keys that exclude each other.
  """
  section = config.optimizer
  rule = lookup(OPTIMIZERS, section.name, 'optimizer.name')
  _check(section, rule)
  mask = lambda params: decayed(
    params, biases=section.decay_biases, batch_norm=section.decay_batch_norm
  )
  decoupled = rule.decay == 'parameter' or section.decoupled
  steps = []
  if section.clip_norm:
    steps.append(optax.clip_by_global_norm(section.clip_norm))
  if section.agc:
    steps.append(clip_units(section.agc))
  if section.weight_decay and rule.decay == 'gradient' and not decoupled:
    steps.append(optax.add_decayed_weights(section.weight_decay, mask))
  steps.append(rule.make(section, rule.eps if section.eps is None else section.eps, schedule, mask))
  if section.weight_decay and decoupled:
    step = lambda count: -section.weight_decay * schedule(count)
    steps.append(optax.add_decayed_weights(step, mask))
  if section.layer_decay < 1:
    steps.append(_scaled(lambda path: section.layer_decay ** stages_behind(path)))
  if config.model.frozen_stages or is_detector(config.model.name):
    frozen = lambda params: jax.tree_util.tree_map_with_path(
      lambda path, _: is_frozen(_names(path)), params
    )
    steps.append(optax.masked(optax.set_to_zero(), frozen))
  return optax.chain(*steps)


def _check(section, rule: Rule) -> None:
  if section.clip_norm and section.agc:
    raise UserError(
      f'optimizer.clip_norm={section.clip_norm} and optimizer.agc={section.agc} are both given; '
      'set one of them to 0.'
    )
  if section.decoupled and rule.decay == 'inside':
    raise UserError(
      f'optimizer.decoupled=True: {section.name} has its weight decay inside; set it to False.'
    )


def decayed(params, *, biases: bool, batch_norm: bool = False):
  """A tree of booleans: whether each parameter decays. Kernels do; the arguments add others."""

  def decays(path, leaf):
    *_, module, name = _names(path)
    if module.endswith('bn'):
      return batch_norm
    return biases or name != 'bias'

  return jax.tree_util.tree_map_with_path(decays, params)


def clip_units(limit: float) -> optax.GradientTransformation:
  """Adaptive gradient clipping (Brock et al. 2021, Eq. 3; timm/utils/agc.py).

  A unit is the weights of one output channel. The norm of its gradient is limited to `limit` times
  the norm of its weights, or times 1e-3 if that is larger. The classifier is not clipped.
  """

  def chosen(depthwise):
    return lambda params: jax.tree_util.tree_map_with_path(
      lambda path, leaf: path[0].key != 'classifier' and (leaf.ndim == 3) == depthwise, params
    )

  # Kernels with three axes are depthwise, [kh, kw, C], for which optax would choose wrong units.
  return optax.chain(
    optax.masked(optax.adaptive_grad_clip(limit), chosen(False)),
    optax.masked(optax.adaptive_grad_clip(limit, axis=(0, 1)), chosen(True)),
  )


def _names(path: tuple) -> Path:
  """The path of a parameter as JAX has it, without JAX's classes."""
  return tuple(key.key for key in path)


def _scaled(factor: Callable[[Path], float]) -> optax.GradientTransformation:
  """Multiplies the update of each parameter by a factor of its path."""
  return optax.stateless(
    lambda updates, params: jax.tree_util.tree_map_with_path(
      lambda path, update: factor(_names(path)) * update, updates
    )
  )


def _rmsprop_tf(section, eps, schedule, mask):
  # As in TensorFlow: the mean square starts at 1, eps is inside the root, and the momentum buffer
  # contains the learning rate.
  return optax.rmsprop(
    schedule, decay=section.decay, eps=eps, initial_scale=1.0, eps_in_sqrt=True,
    momentum=section.momentum or None,
  )


def _sgd(section, eps, schedule, mask):
  return optax.sgd(schedule, momentum=section.momentum or None, nesterov=section.nesterov)


def _adamw(section, eps, schedule, mask):
  return optax.adam(schedule, section.b1, section.b2, eps)


def _lamb(section, eps, schedule, mask):
  # You et al. 2020, Algorithm 2. As in timm, parameters without decay have no trust ratio.
  return optax.chain(
    optax.scale_by_adam(section.b1, section.b2, eps),
    optax.add_decayed_weights(section.weight_decay, mask),
    optax.masked(optax.scale_by_trust_ratio(), mask),
    optax.scale_by_learning_rate(schedule),
  )


def _lars(section, eps, schedule, mask):
  # You et al. 2017, Eq. 6: the norm of the parameter over that of the gradient; optax would use the
  # norm of gradient + decay. As in timm, the learning rate follows the momentum.
  decay = section.weight_decay

  def adapted(gradient, param, decays):
    if not decays:
      return gradient
    size, slope = jnp.linalg.norm(param), jnp.linalg.norm(gradient)
    ratio = section.trust * size / (slope + decay * size + eps)
    return jnp.where((size > 0) & (slope > 0), ratio, 1.0) * (gradient + decay * param)

  return optax.chain(
    optax.stateless(lambda updates, params: jax.tree.map(adapted, updates, params, mask(params))),
    optax.trace(section.momentum, section.nesterov) if section.momentum else optax.identity(),
    optax.scale_by_learning_rate(schedule),
  )


OPTIMIZERS = {
  'rmsprop_tf': Rule(_rmsprop_tf, eps=1e-3),
  'sgd': Rule(_sgd),
  'adamw': Rule(_adamw, eps=1e-8, decay='parameter'),
  'lamb': Rule(_lamb, eps=1e-6, decay='inside'),
  'lars': Rule(_lars, decay='inside'),
}

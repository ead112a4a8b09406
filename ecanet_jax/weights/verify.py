"""Verifies conversions: the same images must give the same logits before and after."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from ecanet_jax.nn.parameter_shapes import variable_shapes
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights.convert import from_torch, to_torch
from ecanet_jax.weights.finite import not_finite
from ecanet_jax.weights.timm_reference import ReferenceMissing, find_record, timm_logits

TOLERANCE = 1e-4
IMAGES = 2
SMALLEST = 32  # pixels; every network accepts them
LARGEST = 96  # pixels; they reveal a wrong padding, stride or pooling in a fifth of the time of 224


@dataclasses.dataclass(frozen=True)
class Verification:
  """The difference between our logits `a` and the reference's logits `b`.

  Attributes:
    reference: what computed b, in words.
    max_abs: max|a - b|.
    max_rel: max|a - b| / max|b|.
    top1_agreement: fraction of the images with the same largest logit.
    images: number of random images.
    image_size: pixels, height = width.
    in_pytorch: timm's network computed b, not ours.
  """

  reference: str
  max_abs: float
  max_rel: float
  top1_agreement: float
  images: int
  image_size: int
  in_pytorch: bool

  def __str__(self) -> str:
    return ('' if self.in_pytorch else 'weaker check, without timm: ') + (
      f'logits of {self.images} random images of {self.image_size} x {self.image_size}: '
      f'max abs difference {self.max_abs:.2e}, max rel {self.max_rel:.2e}, same top-1 for '
      f'{self.top1_agreement:.0%}; compared with {self.reference}'
    )


def verify(
  model: nn.Module,
  variables: Mapping[str, Any],
  state_dict: Mapping[str, np.ndarray],
  dialect: str = 'timm',
  *,
  image_size: int = 224,
  tolerance: float = TOLERANCE,
) -> Verification:
  """Compares our network with `variables` to timm's network with `state_dict`.

  Where timm lacks the network or is not installed, the reference is our own network with the
  weights read from the state dict, and `Verification.reference` says so. This shows that names and
  layouts survive both directions, but not that PyTorch computes the same. All is computed on this
  machine's CPU in float32.

  Args:
    model: from `create_model`.
    variables: our side, {'params', 'batch_stats'}.
    state_dict: the other side, as it is in the file.
    dialect: of the state dict.
    image_size: pixels of the network's images; limited to SMALLEST..LARGEST.
    tolerance: the largest allowed `max_rel`.

  Raises:
    UserError: the difference is above the tolerance, the weights are not finite, or `from_torch`
      refuses the state dict.
  """
  if text := not_finite(state_dict):
    raise UserError(
      f'the conversion is wrong by more than the tolerance of {tolerance:g}, nothing is written: '
      f'{text}. Take an earlier checkpoint of the training.'
    )
  image_size = min(max(image_size, SMALLEST), LARGEST)
  shape = (IMAGES, image_size, image_size, model.in_chans)
  images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
  ours = our_logits(model, variables, images)
  theirs, reference, in_pytorch = _reference_logits(model, state_dict, dialect, images)
  result = compare(ours, theirs, reference, image_size, in_pytorch)
  if not result.max_rel <= tolerance:  # true for NaN, too
    raise UserError(
      f'the conversion is wrong by more than the tolerance of {tolerance:g}, nothing is written: '
      f'{result}.'
    )
  return result


def _reference_logits(
  model: nn.Module, state_dict: Mapping[str, np.ndarray], dialect: str, images: np.ndarray
) -> tuple[np.ndarray, str, bool]:
  """Returns the reference's logits, what computed them, and whether that is in PyTorch."""
  variables = from_torch(model, state_dict, dialect)
  try:
    record = find_record(model)
    if record is None or not record.timm:
      raise ReferenceMissing('timm has no such network')
    timm_state = to_torch(model, variables, record.timm_dialect)  # other names, and the counters
    if dialect == record.timm_dialect:
      timm_state |= {key: state_dict[key] for key in timm_state if key in state_dict}
    return *timm_logits(model, record, timm_state, images), True
  except ReferenceMissing as reason:
    reference = f'our own network on the weights read back, not with PyTorch: {reason}'
    return our_logits(model, variables, images), reference, False


def compare(
  ours: np.ndarray, theirs: np.ndarray, reference: str, image_size: int, in_pytorch: bool
) -> Verification:
  """Computes the differences of two `[B, classes]` arrays of logits."""
  largest = float(np.abs(ours - theirs).max())
  scale = float(np.abs(theirs).max())
  return Verification(
    reference,
    largest,
    0.0 if largest == 0 else largest / max(scale, np.finfo(np.float32).tiny),
    float((ours.argmax(-1) == theirs.argmax(-1)).mean()),
    len(ours), image_size, in_pytorch,
  )


def our_logits(model: nn.Module, variables: Mapping[str, Any], images: np.ndarray) -> np.ndarray:
  """Computes our logits `[B, num_classes]`, float32, of images `[B, H, W, 3]` on the CPU."""
  variables = jax.tree.map(np.asarray, dict(variables))
  return np.asarray(_compile(model, images.shape)(variables, images))


@functools.lru_cache(maxsize=2)
def _compile(model: nn.Module, shape: tuple[int, ...]) -> Callable:
  """Compiles the network for images of one shape; the program takes variables and images."""
  images = jax.ShapeDtypeStruct(shape, np.float32)
  with _on_cpu(), jax.default_matmul_precision('highest'):
    apply = jax.jit(functools.partial(model.apply, train=False))
    return apply.lower(variable_shapes(model), images).compile()


def _on_cpu() -> contextlib.AbstractContextManager:
  try:
    return jax.default_device(jax.local_devices(backend='cpu')[0])
  except RuntimeError:  # JAX_PLATFORMS excludes the CPU
    return contextlib.nullcontext()

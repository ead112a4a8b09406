"""Every conversion proves itself: the same images give the same logits before and after."""

import concurrent.futures
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights.convert import from_torch, model_shapes, to_torch
from ecanet_jax.weights.timm_reference import TwinMissing, find_record, twin_logits

TOLERANCE = 1e-4
IMAGES = 2
SMALLEST = 32  # pixels: every network takes them
LARGEST = 96  # pixels: tells every padding, stride and pooling apart in a fifth of the time of 224


@dataclasses.dataclass(frozen=True)
class Verification:
  """How far two sets of logits `a` (ours) and `b` (the reference's) are apart.

  Attributes:
    reference: what computed b.
    max_abs: max|a - b|.
    max_rel: max|a - b| / max|b|.
    top1_agreement: fraction of the images with the same largest logit.
    images: how many random images.
    image_size: pixels, height = width.
    twin: b comes from PyTorch, not from our own network.
  """

  reference: str
  max_abs: float
  max_rel: float
  top1_agreement: float
  images: int
  image_size: int
  twin: bool

  def __str__(self) -> str:
    return (
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
  read: Mapping[str, Any] | None = None,
) -> Verification:
  """Compares our network on `variables` with its twin in timm on `state_dict`.

  Without a twin (timm lacks the network, or PyTorch is not installed) our own network on the
  weights read from the state dict is the reference, and `reference` says so: that proves names and
  layouts undo each other, not that PyTorch computes the same. Runs on this host's CPU in float32.

  Args:
    model: from `create_model`.
    variables: our side, {'params', 'batch_stats'}.
    state_dict: the other side, as it is in the file.
    dialect: of the state dict.
    image_size: pixels of the network's images; taken as within SMALLEST and LARGEST.
    tolerance: largest allowed `max_rel`.
    read: what `from_torch` made of the state dict, if it is known.

  Returns:
    The differences, within the tolerance.

  Raises:
    UserError: a difference past the tolerance, or logits that are not finite; and what `from_torch`
      raises.
  """
  image_size = min(max(image_size, SMALLEST), LARGEST)
  shape = (IMAGES, image_size, image_size, 3)
  images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
  with concurrent.futures.ThreadPoolExecutor(1) as pool:  # compiles while the reference is made
    quick = pool.submit(our_logits, model, variables, images)
    read = from_torch(model, state_dict, dialect) if read is None else read
    record = find_record(model)
    try:
      if record is None or not record.timm:
        raise TwinMissing('timm has no such network')
      twin_state = to_torch(model, read, record.timm_dialect)  # other dialects, and the counters
      if dialect == record.timm_dialect:
        twin_state |= {key: state_dict[key] for key in twin_state if key in state_dict}
      theirs, reference = twin_logits(model, record, twin_state, images)
      twin = True
    except TwinMissing as reason:
      same = read is variables or _equal(read, variables)
      theirs = quick.result() if same else our_logits(model, read, images)
      weights = 'the same weights' if read is variables else 'the weights read back'
      reference = f'our own network on {weights}, not with PyTorch: {reason}'
      twin = False
    ours = quick.result()
  result = compare(ours, theirs, reference, image_size, twin)
  if result.max_rel > tolerance:  # nothing is refused for a fault of the quick compilation
    ours = our_logits(model, variables, images, quick=False)
    result = compare(ours, theirs, reference, image_size, twin)
  if not result.max_rel <= tolerance:  # also when it is not a number
    raise UserError(
      f'the conversion is wrong by more than the tolerance of {tolerance:g}, nothing is written: '
      f'{result}.'
    )
  return result


def compare(
  ours: np.ndarray, theirs: np.ndarray, reference: str, image_size: int, twin: bool
) -> Verification:
  """The differences of two `[B, classes]` arrays of logits, whatever their size."""
  largest = float(np.abs(ours - theirs).max())
  scale = float(np.abs(theirs).max())
  return Verification(
    reference,
    largest,
    0.0 if largest == 0 else largest / max(scale, np.finfo(np.float32).tiny),
    float((ours.argmax(-1) == theirs.argmax(-1)).mean()),
    len(ours), image_size, twin,
  )


def our_logits(
  model: nn.Module, variables: Mapping[str, Any], images: np.ndarray, *, quick: bool = True
) -> np.ndarray:
  """Our logits `[B, num_classes]`, float32, of images `[B, H, W, 3]`, on this host's CPU.

  `quick` compiles without XLA's optimisations, which is what most of the time would go to.
  """
  variables = jax.tree.map(np.asarray, dict(variables))
  return np.asarray(_compiled_logits(model, images.shape, quick)(variables, images))


@functools.lru_cache(maxsize=2)
def _compiled_logits(model: nn.Module, shape: tuple[int, ...], quick: bool) -> Callable:
  """The program of `our_logits` for images of such a shape; takes variables and images."""
  images = jax.ShapeDtypeStruct(shape, np.float32)
  options = {'xla_backend_optimization_level': 0} if quick else None
  with _on_cpu(), jax.default_matmul_precision('highest'):
    lowered = jax.jit(functools.partial(model.apply, train=False)).lower(
      model_shapes(model), images
    )
    return lowered.compile(compiler_options=options)


def _equal(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
  return jax.tree.all(jax.tree.map(np.array_equal, dict(a), dict(b)))


def _on_cpu():
  try:
    return jax.default_device(jax.local_devices(backend='cpu')[0])
  except RuntimeError:  # JAX_PLATFORMS leaves the CPU out
    return contextlib.nullcontext()

"""Draws positives and negatives for the losses."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ecanet_jax.detection.targets.matcher import NEGATIVE, POSITIVE


class Samples(NamedTuple):
  """The boxes of an image that were drawn; positives first, then negatives, then empty rows.

  Attributes:
    index: `[S]`, rows of what was drawn from.
    valid: `[S]`, which rows hold a sample.
    positive: `[S]`, which rows hold a positive.
  """

  index: jax.Array
  valid: jax.Array
  positive: jax.Array


def image_keys(key: jax.Array, images: jax.Array) -> jax.Array:
  """A key for each image, `[B]`, from a key of the step and the images' numbers in the batch `[B]`.

  What is drawn for an image does not depend on how many devices hold the batch.
  """
  return jax.vmap(lambda number: jax.random.fold_in(key, number))(images)


def sample(key: jax.Array, kind: jax.Array, number: int, fraction: float) -> Samples:
  """Draws without replacement, at most `fraction` positives; negatives fill the rest.

  Args:
    key: of this image.
    kind: `[N]`: POSITIVE, NEGATIVE or anything else, which is not drawn.
    number: samples wanted; `S = min(number, N)`.
    fraction: the most positives, as a fraction of `number`.
  """
  count = kind.shape[0]
  size, most = min(number, count), min(int(number * fraction), count)
  luck = jax.random.uniform(key, (count,))
  rows = jnp.arange(size)
  # One call: a top_k of many anchors takes the TPU's compiler long.
  first, rest = lax.top_k(
    jnp.stack([jnp.where(kind == which, luck, -1.0) for which in (POSITIVE, NEGATIVE)]), size)[1]
  positives = jnp.minimum(jnp.sum(kind == POSITIVE), most)
  negatives = jnp.minimum(jnp.sum(kind == NEGATIVE), number - positives)
  positive = rows < positives
  index = jnp.where(positive, first, rest[jnp.maximum(rows - positives, 0)])
  return Samples(index, rows < positives + negatives, positive)

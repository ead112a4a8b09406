"""Mixup and cutmix of a batch with itself in reverse order; runs in the compiled step.

One draw serves the whole batch, as in the batch mode of timm's Mixup (timm/data/mixup.py). Mixup:
Zhang et al., 1710.09412. Cutmix: Yun et al., 1905.04899, with the share corrected to the area of
the rectangle inside the image. Image i is mixed with image B - 1 - i of the global batch, so the
result does not depend on the number of devices.
"""

import jax
import jax.numpy as jnp


def mix(batch: dict[str, jax.Array], settings, key: jax.Array) -> dict[str, jax.Array]:
  """Mixes a batch with itself in reverse order; returns the batch itself if mixing is off.

  Args:
    batch: {'image': [B, H, W, 3], 'label': int32 [B] or bool [B, classes]}.
    settings: `config.mix`.
    key: random key of this step.

  Returns:
    The batch with float32 images of the same scale, 'other', the labels of the second images, and
    'share' float32 [B], the weight of the first image's labels.
  """
  if not (settings.mixup_alpha or settings.cutmix_alpha):
    return batch
  image, label = batch['image'], batch['label']
  share, weight = draw(settings, key, *image.shape[1:3])
  weight = weight[None, :, :, None]
  # Reversed as they are: other devices' images come as uint8, not as float32.
  first, second = (value.astype(jnp.float32) for value in (image, image[::-1]))
  image = weight * first + (1 - weight) * second
  return {
    **batch, 'image': image, 'other': label[::-1],
    'share': jnp.broadcast_to(share, label.shape[:1]),
  }


def draw(settings, key: jax.Array, height: int, width: int) -> tuple[jax.Array, jax.Array]:
  """Returns the first image's share, float32 scalar, and its weights, float32 [height, width]."""
  of_mixup, of_cutmix, of_choice = jax.random.split(key, 3)
  mixes, switches, down, across = jax.random.uniform(of_choice, (4,))
  both = settings.mixup_alpha and settings.cutmix_alpha
  cuts = switches < settings.switch_prob if both else jnp.array(bool(settings.cutmix_alpha))
  mixup, cutmix = (
    jax.random.beta(of, alpha, alpha) if alpha else 1.0
    for of, alpha in ((of_mixup, settings.mixup_alpha), (of_cutmix, settings.cutmix_alpha))
  )
  share = jnp.where(cuts, cutmix, mixup)
  top, bottom, left, right = box(share, height, width, down, across)
  rows, columns = jnp.arange(height)[:, None], jnp.arange(width)[None]
  inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
  area = (bottom - top) * (right - left) / (height * width)
  share = jnp.where(cuts, 1 - area, share)
  weight = jnp.where(cuts, 1.0 - inside, share)
  return jnp.where(mixes < settings.prob, share, 1.0), jnp.where(mixes < settings.prob, weight, 1.0)


def box(share, height: int, width: int, down, across) -> tuple[jax.Array, ...]:
  """Returns the second image's rectangle: top, bottom, left, right, int32, ends exclusive.

  Its sides are sqrt(1 - share) of the image's. Its centre is uniform; borders clip it.

  Args:
    share: the first image's share before the correction.
    height, width: of the image, in pixels.
    down, across: uniform in [0, 1).
  """
  sides = []
  for size, place in ((height, down), (width, across)):
    length = jnp.floor(size * jnp.sqrt(1 - share)).astype(jnp.int32)
    center = jnp.floor(size * place).astype(jnp.int32)
    sides += [
      jnp.clip(center - length // 2, 0, size), jnp.clip(center + (length + 1) // 2, 0, size)
    ]
  return tuple(sides)

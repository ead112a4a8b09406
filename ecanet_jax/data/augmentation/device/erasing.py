"""Random erasing (Zhong et al., 1708.04896); runs in the compiled step.

The distribution is that of timm's RandomErasing (timm/data/random_erasing.py) with one rectangle:
up to ten attempts at one that is smaller than the image. The pixels become the mean colour (0 of
the normalised image) or normal noise: one colour, or one per pixel.
"""

import math

import jax
import jax.numpy as jnp

ATTEMPTS = 10
# Shape of the noise for images [B, H, W, 3]; None = no noise but the mean colour.
MODES = {
  'const': None,
  'rand': lambda shape: (shape[0], 1, 1, 3),
  'pixel': lambda shape: shape,
}


def erase(batch: dict[str, jax.Array], settings, mean, std, key: jax.Array) -> dict[str, jax.Array]:
  """Erases a rectangle of some images; returns the batch itself if erasing is off.

  Args:
    batch: {'image': [B, H, W, 3], levels 0 to 255, ...}; other keys are kept.
    settings: `config.augment`.
    mean, std: float32 [3], for images in 0..1.
    key: random key of this step.

  Returns:
    The batch with float32 images of the same scale. Noise may lie outside 0..255.
  """
  if not settings.erasing:
    return batch
  image = batch['image'].astype(jnp.float32)
  count, height, width, _ = image.shape
  of_whether, of_box, of_noise = jax.random.split(key, 3)
  wanted = jax.random.uniform(of_whether, (count,)) < settings.erasing
  values = jax.random.uniform(of_box, (count, ATTEMPTS, 4))
  sides = boxes(values, height, width, settings.erasing_area, settings.erasing_aspect)
  top, left, tall, wide = (side[:, None] for side in sides)
  rows, columns = jnp.arange(height)[None], jnp.arange(width)[None]
  inside = ((rows >= top) & (rows < top + tall))[:, :, None]
  inside &= ((columns >= left) & (columns < left + wide))[:, None, :]
  inside &= wanted[:, None, None]
  shape = MODES[settings.erasing_mode]
  color = mean[None, None, None]
  if shape:
    color += std[None, None, None] * jax.random.normal(of_noise, shape(image.shape))
  return {**batch, 'image': jnp.where(inside[..., None], 255 * color, image)}


def boxes(values, height: int, width: int, area, aspect) -> tuple[jax.Array, ...]:
  """Returns the first rectangle that fits for each image: top, left, height, width, int32 [B].

  Args:
    values: float32 [B, attempts, 4], uniform in [0, 1): for area, aspect, top and left.
    height, width: of the images, in pixels.
    area: smallest and largest fraction of the image's area.
    aspect: smallest and largest height / width; its logarithm is uniform.

  Returns:
    Height and width are 0 where no attempt fits.
  """
  wanted = height * width * (area[0] + (area[1] - area[0]) * values[..., 0])
  low, high = math.log(aspect[0]), math.log(aspect[1])
  shape = jnp.exp(low + (high - low) * values[..., 1])
  tall, wide = jnp.round(jnp.sqrt(wanted * shape)), jnp.round(jnp.sqrt(wanted / shape))
  fits = (tall < height) & (wide < width)
  top = jnp.floor(values[..., 2] * (height - tall + 1))
  left = jnp.floor(values[..., 3] * (width - wide + 1))
  first = jnp.argmax(fits, axis=1)[:, None]
  chosen = (jnp.take_along_axis(side, first, axis=1)[:, 0] for side in (top, left, tall, wide))
  top, left, tall, wide = (jnp.where(fits.any(1), side, 0).astype(jnp.int32) for side in chosen)
  return top, left, tall, wide

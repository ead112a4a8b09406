"""Pictures that augmentation is compared on."""

import numpy as np

from tests.support.imagenet_tars import smooth_image


def pictures(count: int, grey: bool) -> list[np.ndarray]:
  """Returns uint8 [H, W, 3] of several sizes: smooth, noise, few levels, one level; grey or not."""
  random = np.random.RandomState(0)
  found = []
  for number in range(count):
    height, width = random.randint(24, 65, 2)
    match number % 5:
      case 0:
        image = np.asarray(smooth_image(random, height, width))
      case 1:
        image = random.randint(0, 256, (height, width, 3))
      case 2:  # square, with little contrast
        image = random.randint(100, 131, (width, width, 3))
      case 3:
        image = 85 * random.randint(0, 4, (height, width, 3))
      case 4:
        image = np.full((height, width, 3), random.randint(0, 256, 3))
    if grey:
      image = image[..., :1].repeat(3, axis=-1)
    found.append(image.astype(np.uint8))
  return found

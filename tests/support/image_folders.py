"""Small image folders with generated images."""

import pathlib
from collections.abc import Collection, Mapping

import numpy as np

from tests.support.imagenet_tars import encode, smooth_image


def write_mixed_folder(root: pathlib.Path) -> None:
  """Writes two classes: 11 training and 5 evaluation images of several formats, 20 to 60 pixels."""
  random = np.random.RandomState(0)
  formats = (('jpg', 'JPEG'), ('png', 'PNG'), ('gif', 'GIF'), ('webp', 'WEBP'), ('JPEG', 'JPEG'))
  for split, count in (('train', 11), ('val', 5)):
    for number in range(count):
      extension, file_format = formats[number % len(formats)]
      directory = root / split / ('cat', 'dog')[number % 2]
      directory.mkdir(parents=True, exist_ok=True)
      image = smooth_image(random, *random.randint(20, 61, 2))
      (directory / f'{number}.{extension}').write_bytes(encode(image, file_format))
  (root / 'train' / 'cat' / '.DS_Store').write_bytes(b'hidden')


def write_jpeg_folder(root: pathlib.Path, images: int, corrupt: Collection[int] = ()) -> None:
  """Writes JPEG files of two classes, `images` for training and 4 for evaluation.

  Args:
    root: its folders train and val are made.
    images: number of training images, 0000.jpg and on.
    corrupt: numbers of the training images that cannot be decoded, in three ways.
  """
  random, corrupt = np.random.RandomState(0), list(corrupt)
  for number in range(images):
    for split in ('train', 'val')[: 2 if number < 4 else 1]:
      path = root / split / 'ab'[number % 2] / f'{number:04}.jpg'
      path.parent.mkdir(parents=True, exist_ok=True)
      content = encode(smooth_image(random, 20, 24))
      if split == 'train' and number in corrupt:
        content = (b'', content[:100], b'GARBAGE' * 9)[corrupt.index(number) % 3]
      path.write_bytes(content)


def write_classes(
  root: pathlib.Path, classes: Mapping[str, int], evaluation: int = 2
) -> None:
  """Writes JPEG files of 20 x 24 pixels; files that exist stay as they are.

  Args:
    root: its folders train and val are made.
    classes: number of training images by class.
    evaluation: number of evaluation images of each class.
  """
  random = np.random.RandomState(0)
  for name, count in classes.items():
    for split, number in (('train', count), ('val', evaluation)):
      for index in range(number):
        path = root / split / name / f'{index:04}.jpg'
        if not path.exists():
          path.parent.mkdir(parents=True, exist_ok=True)
          path.write_bytes(encode(smooth_image(random, 20, 24)))

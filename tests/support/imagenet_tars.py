"""Generated archives with the names and the layout of ILSVRC2012, a few images each."""

import io
import pathlib
import tarfile

import numpy as np
from PIL import Image

# Real synset ids (classes 0, 59, 230); n01739381 has a CMYK image and n02105855 a PNG in the
# original, which the TFDS builder repairs by file name.
SYNSETS = ('n01440764', 'n01739381', 'n02105855')
CMYK_NAME = 'n01739381_1309.JPEG'
PNG_NAME = 'n02105855_2933.JPEG'


def smooth_image(random: np.random.RandomState, height: int, width: int) -> Image.Image:
  """Returns an RGB picture of smooth random content."""
  coarse = random.randint(0, 256, (6, 6, 3)).astype(np.uint8)
  return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encode(image: Image.Image, file_format: str = 'JPEG', **options) -> bytes:
  """Returns the bytes of an image file."""
  buffer = io.BytesIO()
  image.save(buffer, file_format, **options)
  return buffer.getvalue()


def add_file(archive: tarfile.TarFile, name: str, content: bytes) -> None:
  """Adds one file to an open archive."""
  member = tarfile.TarInfo(name)
  member.size = len(content)
  archive.addfile(member, io.BytesIO(content))


def write_ilsvrc2012_tars(
  directory, train_per_class: int = 4, val_count: int = 10, seed: int = 0
) -> None:
  """Writes ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar.

  Args:
    directory: where to write; created when it does not exist.
    train_per_class: training images of each of three classes, JPEG of 100 to 500 pixels; among
      them one CMYK JPEG and one PNG under the names that they have in ImageNet.
    val_count: validation images.
    seed: of the content.
  """
  directory = pathlib.Path(directory)
  directory.mkdir(parents=True, exist_ok=True)
  random = np.random.RandomState(seed)

  def picture():
    return smooth_image(random, *random.randint(100, 501, 2))

  with tarfile.open(directory / 'ILSVRC2012_img_train.tar', 'w') as train:
    for synset in SYNSETS:
      inner = io.BytesIO()
      with tarfile.open(fileobj=inner, mode='w') as archive:
        names = [f'{synset}_{number}.JPEG' for number in range(train_per_class)]
        special = {SYNSETS[1]: CMYK_NAME, SYNSETS[2]: PNG_NAME}.get(synset)
        names[-1:] = [special or names[-1]]
        for name in names:
          if name == CMYK_NAME:
            content = encode(picture().convert('CMYK'))
          else:
            content = encode(picture(), 'PNG' if name == PNG_NAME else 'JPEG')
          add_file(archive, name, content)
      add_file(train, f'{synset}.tar', inner.getvalue())
  with tarfile.open(directory / 'ILSVRC2012_img_val.tar', 'w') as validation:
    for number in range(1, val_count + 1):
      add_file(validation, f'ILSVRC2012_val_{number:08d}.JPEG', encode(picture()))

"""Small sets that are held in memory as uint8 arrays and need no TensorFlow.

- digits: scikit-learn's handwritten digits, 1,797 real scans of 8 x 8 pixels (UCI, Alpaydin and
  Kaynak 1998), 1,437 for training and 360 for evaluation: the first and the last of the fixed
  permutation `RandomState(0).permutation(1797)`.
- synthetic: 512 + 200 generated images of 10 classes, each class a smooth colour pattern of its
  own under noise; for tests and benchmarks.
- fashion_mnist: 60,000 + 10,000 pictures of clothes of 28 x 28 pixels (Xiao et al. 2017,
  1708.07747) from the four idx.gz files in data.data_dir; '' = where Debian's package
  dataset-fashion-mnist puts them.

A part of a split is written as in TFDS, 'train[:2000]'. The names 'validation' and 'test' both mean
the evaluation split. Images are decoded and resized once, when they are loaded: to image_size, but
with crop='inception' the training split keeps its own size if that is square and not larger.
Augmentation is a pure function of (seed, epoch, index): crop, area, aspect, flip and interpolation
mean what they do for images that are decoded, and crop='shift' moves the image by up to an eighth
of its side in each direction, the border repeated (augmentation/sampling.py). `crop_fraction` is
not used.
"""

import functools
import gzip
import itertools
import os
import re
from collections.abc import Iterator

import numpy as np

from ecanet_jax.data import shuffling
from ecanet_jax.data.augmentation.resampled_crop import Sampler, Taps, resample
from ecanet_jax.data.types import Batch, DatasetInfo, Shard, Split, count_labels, require_square
from ecanet_jax.runtime.errors import UserError, lookup

DIGITS_TRAIN = 1437
FASHION_MNIST = '/usr/share/datasets/fashion-mnist'  # of Debian's package
FASHION_NAMES = (
  'T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat', 'Sandal', 'Shirt', 'Sneaker', 'Bag',
  'Ankle boot',
)
MAX_BYTES = 2**32  # of a split's images


Parts = tuple[Batch, Batch]


def digits(directory: str = '') -> Parts:
  """Returns scikit-learn's digits: (train, test), each {'image': uint8 [n, 8, 8, 1], 'label'}.

  Raises:
    UserError: scikit-learn is not installed.
  """
  del directory  # it is a part of scikit-learn
  try:
    from sklearn import datasets
  except ImportError as error:
    raise UserError(
      "the data set 'digits' comes with scikit-learn: pip install scikit-learn"
    ) from error
  bunch = datasets.load_digits()
  chosen = np.random.RandomState(0).permutation(len(bunch.target))
  image = np.round(bunch.images * (255 / 16)).astype(np.uint8)[chosen, :, :, None]
  label = bunch.target.astype(np.int32)[chosen]
  parts = slice(None, DIGITS_TRAIN), slice(DIGITS_TRAIN, None)
  return tuple({'image': image[part], 'label': label[part]} for part in parts)


def synthetic(directory: str = '') -> Parts:
  """Returns generated images: (train, test), each {'image': uint8 [n, 8, 8, 3], 'label'}."""
  del directory  # nothing is read
  random = np.random.RandomState(0)
  patterns = random.randint(0, 256, (10, 4, 4, 3)).repeat(2, axis=1).repeat(2, axis=2)
  parts = []
  for count in (512, 200):
    label = (np.arange(count) % 10).astype(np.int32)
    noise = random.randint(-64, 65, (count, 8, 8, 3))
    image = np.clip(patterns[label] + noise, 0, 255).astype(np.uint8)
    parts.append({'image': image, 'label': label})
  return tuple(parts)


def fashion_mnist(directory: str = '') -> Parts:
  """Returns Fashion-MNIST: (train, test), each {'image': uint8 [n, 28, 28, 1], 'label'}.

  Args:
    directory: of the four files; '' = `FASHION_MNIST`.

  Raises:
    UserError: a file is missing or is not what its name says.
  """
  directory = os.path.expanduser(directory) or FASHION_MNIST
  parts = []
  for prefix, count in (('train', 60_000), ('t10k', 10_000)):
    image = _read_idx(os.path.join(directory, f'{prefix}-images-idx3-ubyte.gz'), (count, 28, 28))
    label = _read_idx(os.path.join(directory, f'{prefix}-labels-idx1-ubyte.gz'), (count,))
    parts.append({'image': image[..., None], 'label': label.astype(np.int32)})
  return tuple(parts)


def _read_idx(path: str, shape: tuple[int, ...]) -> np.ndarray:
  """Reads uint8 values of this shape from a file in MNIST's format, gzipped."""
  try:
    with gzip.open(path) as file:
      content = file.read()
  except FileNotFoundError:
    raise UserError(
      f'no file {path}: install the Debian package dataset-fashion-mnist, or put the four idx.gz '
      'files of github.com/zalandoresearch/fashion-mnist into data.data_dir'
    ) from None
  except (OSError, EOFError) as error:
    raise UserError(f'{path} cannot be read: {error}') from None
  # Two zeros, 8 = uint8, the number of axes; then each axis as a big-endian int32.
  header = bytes([0, 0, 8, len(shape)]) + np.array(shape, '>i4').tobytes()
  if not content.startswith(header) or len(content) != len(header) + np.prod(shape):
    raise UserError(f'{path} is not an idx file of {" x ".join(map(str, shape))} bytes')
  return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)


SETS = {'digits': digits, 'synthetic': synthetic, 'fashion_mnist': fashion_mnist}
NAMES = {'digits': tuple(str(digit) for digit in range(10)), 'fashion_mnist': FASHION_NAMES}


@functools.lru_cache(maxsize=2)
def _read(name: str, directory: str) -> Parts:
  return SETS[name](directory)


def load(
  name: str, split: str, image_size: int, interpolation: str, directory: str = '',
  key: str = 'split',
) -> Batch:
  """Returns {'image': uint8 [n, size, size, 3], 'label': int32 [n]}, read-only arrays.

  Args:
    name: of `SETS`.
    split: train, validation or test, or a part such as 'train[:2000]'.
    image_size: pixels.
    interpolation: bicubic or bilinear.
    directory: of the files, for sets that have any.
    key: of the config, for the message.
  """
  lookup(SETS, name, 'set in memory (data.name)')
  train, test = _read(name, directory)
  base, bracket, rest = split.partition('[')
  whole = lookup({'train': train, 'validation': test, 'test': test}, base, f'split ({key})')
  count = len(whole['label'])
  found = re.fullmatch(r'(-?\d+)?:(-?\d+)?]', rest) if bracket else None
  if bracket and not found:
    raise UserError(f'{key}={split!r}: a part of a split is written as in {base}[:2000]')
  ends = (int(end) if end else None for end in found.groups()) if found else (None,)
  chosen = range(count)[slice(*ends)]
  if not chosen:
    raise UserError(f'{key}={split!r} has no images; {base} has {count:,}')
  size = 3 * len(chosen) * image_size**2
  if size > MAX_BYTES:
    raise UserError(
      f'{key}={split!r}: {len(chosen):,} images of {image_size} px are {size / 2**30:.1f} GiB and '
      f'{MAX_BYTES / 2**30:.0f} GiB is the most in memory; take a part, or data.source=tfds'
    )
  evaluation = base != 'train'
  return _part(name, directory, evaluation, chosen.start, chosen.stop, image_size, interpolation)


@functools.lru_cache(maxsize=4)
def _part(
  name: str, directory: str, evaluation: bool, first: int, last: int, image_size: int,
  interpolation: str,
) -> Batch:
  whole = _read(name, directory)[evaluation]
  arrays = {
    'image': _resize(whole['image'][first:last], image_size, interpolation),
    'label': whole['label'][first:last].copy(),
  }
  for array in arrays.values():
    array.setflags(write=False)
  return arrays


def stored_size(data) -> int:
  """Returns the side of the training images as they are held; `data` is `config.data`."""
  lookup(SETS, data.name, 'set in memory (data.name)')
  height, width = _read(data.name, data.data_dir)[0]['image'].shape[1:3]
  own = data.crop == 'inception' and height == width <= data.image_size
  return height if own else data.image_size


class MemorySource:
  """One of the small sets; see the module's text for what its augmentation does."""

  def __init__(self, config):
    data = config.data
    size, stored = require_square(config), stored_size(data)
    self._seed, self._batch_size = config.seed, config.batch_size
    self._sampler = Sampler(data, stored)
    read = functools.partial(
      load, data.name, interpolation=data.interpolation, directory=data.data_dir
    )
    self._train = read(split=data.train_split, image_size=stored, key='data.train_split')
    self._eval = read(split=data.eval_split, image_size=size, key='data.eval_split')
    self.info = DatasetInfo(
      train=Split(data.train_split, len(self._train['label']), 10),
      eval=Split(data.eval_split, len(self._eval['label']), 10),
      num_classes=10,
      label_names=NAMES.get(data.name),
      index_addressable=True,
    )

  def train_batches(self, start_step: int, steps: int | None, shard: Shard) -> Iterator[Batch]:
    """Yields this host's rows of `steps` training batches from `start_step` on; None = endless."""
    size, mine = self._batch_size, shard.places(self._batch_size)
    count = len(self._train['label'])
    numbers = itertools.count(start_step)
    for step in numbers if steps is None else range(start_step, start_step + steps):
      keys, indices = shuffling.batch_positions(count, self._seed, step, size, mine)
      taps = self._sampler.draw(keys, indices)
      image = np.stack([
        resample(self._train['image'][index], Taps(*one)) for index, *one in zip(indices, *taps)
      ])
      yield {'image': image, 'label': self._train['label'][indices]}

  def label_counts(self) -> np.ndarray:
    """Returns how many training images every class has, int64 [classes]."""
    return count_labels(self._train['label'], self.info.num_classes)

  def eval_batches(self, rows: int, shard: Shard, crops: int = 1) -> Iterator[Batch]:
    """Yields this host's part of the evaluation split once; the last batch may be short."""
    if crops > 1:
      raise UserError("data.source='memory' has whole images of image_size only, without crops")
    mine = shard.examples(len(self._eval['label']))
    for first in range(mine.start, mine.stop, rows):
      part = slice(first, min(first + rows, mine.stop))
      yield {name: array[part] for name, array in self._eval.items()}


def _resize(images: np.ndarray, size: int, interpolation: str) -> np.ndarray:
  from PIL import Image

  methods = {'bicubic': Image.Resampling.BICUBIC, 'bilinear': Image.Resampling.BILINEAR}
  method = lookup(methods, interpolation, 'interpolation (data.interpolation)')
  if images.shape[1:3] != (size, size):
    grey = images.shape[-1] == 1
    pictures = (Image.fromarray(image[..., 0] if grey else image) for image in images)
    resized = [np.asarray(picture.resize((size, size), method)) for picture in pictures]
    images = np.stack(resized).reshape(len(images), size, size, images.shape[-1])
  return np.array(np.broadcast_to(images, (len(images), size, size, 3)))

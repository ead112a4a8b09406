"""Small data sets in memory, as uint8 arrays; they need no TensorFlow.

- digits: scikit-learn's handwritten digits, 1,797 real scans of 8 x 8 pixels (UCI, Alpaydin and
  Kaynak 1998), 1,437 for training and 360 for evaluation: the first and the last of the fixed
  permutation `RandomState(0).permutation(1797)`.
- synthetic: 512 + 200 generated images of 10 classes; each class is a smooth colour pattern with
  noise. For tests and benchmarks.
- fashion_mnist: 60,000 + 10,000 pictures of clothes of 28 x 28 pixels (Xiao et al. 2017,
  1708.07747) from the four idx.gz files in data.data_dir; '' = where Debian's package
  dataset-fashion-mnist puts them.

A part of a split is written as in TFDS, 'train[:2000]'. Both 'validation' and 'test' name the
evaluation split. Images are resized to image_size once, when they are loaded; with crop='inception'
square training images that are not larger keep their own size.
Augmentation is a pure function of (seed, epoch, index). The keys crop, area, aspect, flip and
interpolation mean the same as for image files. crop='shift' moves the image by up to an eighth of
its side in each direction and repeats the border (augmentation/resampled_crop.py). `crop_fraction`
is not used.
"""

import functools
import gzip
import itertools
import re
from collections.abc import Iterator

import numpy as np

from ecanet_jax.data import shuffling
from ecanet_jax.data.augmentation.resampled_crop import Sampler, Taps, require_crop, resample
from ecanet_jax.data.label_names import published
from ecanet_jax.data.labels import count_labels
from ecanet_jax.data.types import Batch, DatasetInfo, Shard, Source, Split
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, lookup

DIGITS_TRAIN = 1437
FASHION_MNIST = '/usr/share/datasets/fashion-mnist'  # of Debian's package
MAX_BYTES = 2**32  # of a split's images

Parts = tuple[Batch, Batch]


def digits(directory: str = '') -> Parts:
  """Returns scikit-learn's digits: (train, test), each {'image': uint8 [n, 8, 8, 1], 'label'}.

  Raises:
    UserError: scikit-learn is not installed.
  """
  del directory  # scikit-learn has them
  try:
    from sklearn import datasets
  except ImportError as error:
    raise UserError(
      "the data set 'digits' comes with scikit-learn: pip install 'ecanet_jax[train]'"
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
    directory: folder of the four files; '' = `FASHION_MNIST`.

  Raises:
    UserError: a file is missing or is not what its name says.
  """
  folder = paths.to_path(directory or FASHION_MNIST)
  parts = []
  for prefix, count in (('train', 60_000), ('t10k', 10_000)):
    image = _read_idx(folder / f'{prefix}-images-idx3-ubyte.gz', (count, 28, 28))
    label = _read_idx(folder / f'{prefix}-labels-idx1-ubyte.gz', (count,))
    parts.append({'image': image[..., None], 'label': label.astype(np.int32)})
  return tuple(parts)


def _read_idx(path: paths.Path, shape: tuple[int, ...]) -> np.ndarray:
  """Reads uint8 values of this shape from a file in MNIST's format, gzipped."""
  try:
    with paths.answers(path):
      content = gzip.decompress(path.read_bytes())
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
NAMES = {
  'digits': tuple(str(digit) for digit in range(10)), 'fashion_mnist': published('fashion_mnist'),
}


@functools.lru_cache(maxsize=2)
def _read(name: str, directory: str) -> Parts:
  return SETS[name](directory)


def load(
  name: str, split: str, image_size: int, interpolation: str, directory: str = '',
  key: str = 'split',
) -> Batch:
  """Returns {'image': uint8 [n, size, size, 3], 'label': int32 [n]}, read-only arrays.

  Args:
    name: a key of `SETS`.
    split: train, validation or test, or a part such as 'train[:2000]'.
    image_size: pixels, height = width.
    interpolation: bicubic or bilinear.
    directory: folder of the set's files, if it has files.
    key: the config key of the split, for messages.

  Raises:
    UserError: an unknown set, split or interpolation, or too many images for the memory.
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
  part = slice(chosen.start, chosen.stop)
  arrays = {
    'image': _resize(whole['image'][part], image_size, interpolation),
    'label': whole['label'][part].copy(),
  }
  for array in arrays.values():
    array.setflags(write=False)
  return arrays


class InMemorySource(Source):
  """One of the small sets; the module's docstring explains its augmentation."""

  def __init__(self, config):
    data = config.data
    require_crop(data.crop)
    self._config = config
    self._side = self.stored_size(data.image_size)
    self._train = self._load_train(self._side)
    self._eval = load(
      data.name, data.eval_split, data.image_size, data.interpolation, data.data_dir,
      'data.eval_split',
    )
    self.info = DatasetInfo(
      train=Split(data.train_split, len(self._train['label']), 10),
      eval=Split(data.eval_split, len(self._eval['label']), 10),
      num_classes=10,
      label_names=NAMES.get(data.name),
      index_addressable=True,
    )

  def train(
    self, start: int, steps: int | None, shard: Shard, image_size: int
  ) -> Iterator[Batch]:
    """Yields this host's rows of the training batches from step `start` on; None = endless."""
    size, seed = self._config.batch_size, self._config.seed
    side, mine = self.stored_size(image_size), shard.places(size)
    images = self._train_at(side)
    sampler, count = Sampler(self._config.data, side, image_size), len(images['label'])
    numbers = itertools.count(start)
    for step in numbers if steps is None else range(start, start + steps):
      keys, indices = shuffling.batch_positions(count, seed, step, size, mine)
      taps = sampler.draw(keys, indices)
      image = np.stack([
        resample(images['image'][index], Taps(*one)) for index, *one in zip(indices, *taps)
      ])
      yield {'image': image, 'label': images['label'][indices]}

  def eval(self, rows: int, shard: Shard, crops: int = 1) -> Iterator[Batch]:
    """Yields this host's part of the evaluation split once; the last batch may be short."""
    if crops > 1:
      raise UserError("data.source='memory' has whole images of image_size only, without crops")
    mine = shard.examples(len(self._eval['label']))
    return _batches(self._eval, mine, rows)

  def label_counts(self) -> np.ndarray:
    """Returns the number of training images of each class, int64 [classes]."""
    return count_labels(self._train['label'], self.info.num_classes)

  def stored_size(self, image_size: int) -> int:
    """Returns the side of the training images as they are kept, in pixels."""
    data = self._config.data
    lookup(SETS, data.name, 'set in memory (data.name)')
    height, width = _read(data.name, data.data_dir)[0]['image'].shape[1:3]
    keeps_own = data.crop == 'inception' and height == width <= image_size
    return height if keeps_own else image_size

  def train_images(self, side: int, rows: int) -> Iterator[Batch]:
    """Yields the whole training split once, in order."""
    images = self._train_at(side)
    return _batches(images, range(len(images['label'])), rows)

  def _train_at(self, side: int) -> Batch:
    return self._train if side == self._side else self._load_train(side)

  def _load_train(self, side: int) -> Batch:
    data = self._config.data
    return load(
      data.name, data.train_split, side, data.interpolation, data.data_dir, 'data.train_split'
    )


def _batches(images: Batch, part: range, rows: int) -> Iterator[Batch]:
  for first in range(part.start, part.stop, rows):
    chosen = slice(first, min(first + rows, part.stop))
    yield {name: array[chosen] for name, array in images.items()}


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

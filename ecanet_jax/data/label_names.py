"""Class names of published data sets, in the order of their labels; class_names/ has the files.

A network of ImageNet has its classes in the order of their WordNet ids ('n01440764'). TFDS and the
class folders of ImageNet have the ids as names.
"""

import functools
import gzip
import importlib.resources
from collections.abc import Sequence

from ecanet_jax.runtime.errors import lookup

# Lists of class_names/imagenet_21k.txt.gz -> their names in that file.
_LISTS = {
  'imagenet_21k': '21k', 'imagenet_21k_google': 'google', 'imagenet_21k_p': '21k_p',
  'imagenet_12k': '12k',
}
_PLAIN = ('cifar10', 'cifar100', 'fashion_mnist', 'oxford_flowers102', 'oxford_iiit_pet')
SETS = ('imagenet_1k', *_LISTS, *_PLAIN, 'coco')
# Number of classes -> the ImageNet list that published classifiers of this size have.
_SIZES = {
  1000: 'imagenet_1k', 21841: 'imagenet_21k', 21843: 'imagenet_21k_google',
  11221: 'imagenet_21k_p', 11821: 'imagenet_12k',
}


def published(name: str) -> tuple[str, ...]:
  """The class names of a data set.

  Args:
    name: one of `SETS`.

  Returns:
    One name for each class. Those of imagenet_1k are torchvision's, without duplicates; those of
    the larger lists are WordNet's, such as 'organism, being', and some are the same.

  Raises:
    UserError: an unknown name.
  """
  lookup(dict.fromkeys(SETS), name, 'set of class names')
  if name in _PLAIN:
    return tuple(line for (line,) in _read(f'{name}.txt'))
  if name == 'coco':
    return tuple(text for _, text in _read('coco.txt'))
  return tuple(text for _, text in _imagenet(name))


def imagenet_wnids(name: str = 'imagenet_1k') -> tuple[str, ...]:
  """The WordNet ids of an ImageNet list, in the same order.

  Raises:
    UserError: the name is not of an ImageNet list.
  """
  lookup(dict.fromkeys(_SIZES.values()), name, 'list of ImageNet')
  return tuple(wnid for wnid, _ in _imagenet(name))


def published_for(num_classes: int) -> tuple[str, ...] | None:
  """The names of ImageNet's classes, if published classifiers of them have so many outputs."""
  return published(_SIZES[num_classes]) if num_classes in _SIZES else None


def coco_for(num_classes: int) -> tuple[str, ...] | None:
  """The names of COCO's classes, if published detectors of them have so many; else None.

  mmdetection's have the 80 categories one after another. torchvision's have an output for every
  number up to the last category's id, 90; its RetinaNet has one for 0, too. Numbers that are no
  category are 'N/A', as there.
  """
  if num_classes == 80:
    return published('coco')
  by_id = {int(number): text for number, text in _read('coco.txt')}
  first = {90: 1, 91: 0}.get(num_classes)
  return None if first is None else tuple(by_id.get(i, 'N/A') for i in range(first, 91))


def is_imagenet(names: Sequence[str]) -> bool:
  """Whether these are the classes of an ImageNet list in its order, as WordNet ids or as names."""
  return names_as_wnids(names) == _wnids_of_size(len(names))


def names_as_wnids(names: Sequence[str]) -> tuple[str, ...]:
  """The WordNet ids, if these are the names of an ImageNet list in its order; else `names`."""
  names = tuple(names)
  return _wnids_of_size(len(names)) if names == published_for(len(names)) else names


def wnids_as_names(names: Sequence[str]) -> tuple[str, ...]:
  """Replaces WordNet ids of ImageNet's classes by names, for people; other names stay."""
  if not any(_is_wnid(name) for name in names):
    return tuple(names)
  known = {**dict(_imagenet('imagenet_21k_google')), **dict(_imagenet('imagenet_1k'))}
  return tuple(known.get(name, name) for name in names)


def _wnids_of_size(num_classes: int) -> tuple[str, ...] | None:
  return imagenet_wnids(_SIZES[num_classes]) if num_classes in _SIZES else None


def _is_wnid(name: str) -> bool:
  return len(name) == 9 and name[0] == 'n' and name[1:].isdecimal()


@functools.cache
def _imagenet(name: str) -> tuple[tuple[str, str], ...]:
  """The pairs (WordNet id, name) of an ImageNet list."""
  if name == 'imagenet_1k':
    return tuple((wnid, text) for wnid, text in _read('imagenet_1k.txt'))
  rows = _read('imagenet_21k.txt.gz')
  return tuple((wnid, text) for wnid, text, lists in rows if _LISTS[name] in lists.split())


@functools.cache
def _read(file: str) -> tuple[tuple[str, ...], ...]:
  """The rows of a file, as columns; lines that begin with # are comments."""
  content = (importlib.resources.files('ecanet_jax.data') / 'class_names' / file).read_bytes()
  text = (gzip.decompress(content) if file.endswith('.gz') else content).decode()
  return tuple(tuple(line.split('\t')) for line in text.splitlines() if line[0] != '#')

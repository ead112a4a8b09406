"""Copies the photographs that scikit-image and scikit-learn ship into a folder, for `make demo`.

    python scripts/demo_photographs.py data/photographs

Photographs that show a class of ImageNet go into a subfolder of that name; the others do not.
photographs.csv has the author, the source and the licence of each.
"""

import csv
import pathlib
import shutil
import sys

import skimage
import sklearn.datasets

# File -> (package, class of ImageNet, author, licence).
PHOTOGRAPHS = {
  'astronaut.png': ('skimage', '', 'NASA', 'public domain'),
  'chelsea.png': ('skimage', 'tabby', 'Stefan van der Walt', 'CC0'),
  'coffee.png': ('skimage', 'espresso', 'Rachel Michetti', 'CC0'),
  'rocket.jpg': ('skimage', 'missile', 'SpaceX', 'public domain'),
  'china.jpg': ('sklearn', 'palace', 'danielbuechele on Flickr', 'CC BY 2.0'),
  'flower.jpg': ('sklearn', '', 'vultilion on Flickr', 'CC BY 2.0'),
}
FOLDERS = {
  'skimage': pathlib.Path(skimage.__file__).parent / 'data',
  'sklearn': pathlib.Path(sklearn.datasets.__file__).parent / 'images',
}
PACKAGES = {'skimage': 'scikit-image', 'sklearn': 'scikit-learn'}


def copy(target: pathlib.Path) -> list[pathlib.Path]:
  """Copies the photographs and writes photographs.csv; returns the copies' paths."""
  rows, copies = [], []
  for name, (package, label, author, licence) in PHOTOGRAPHS.items():
    folder = target / label if label else target
    folder.mkdir(parents=True, exist_ok=True)
    copies.append(pathlib.Path(shutil.copyfile(FOLDERS[package] / name, folder / name)))
    rows.append([copies[-1].relative_to(target), label, author, PACKAGES[package], licence])
  with open(target / 'photographs.csv', 'w', newline='', encoding='utf-8') as file:
    csv.writer(file).writerows([['file', 'class', 'author', 'package', 'licence'], *rows])
  return copies


if __name__ == '__main__':
  if len(sys.argv) != 2:
    sys.exit('usage: python scripts/demo_photographs.py FOLDER')
  for path in copy(pathlib.Path(sys.argv[1])):
    print(path)

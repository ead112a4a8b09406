"""Folders that cannot be trained on: one clear line, counted, and nothing is left behind."""

import pytest

from ecanet_jax import data
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.training.trainer import Trainer
from tests.data.conftest import write_folder


@pytest.fixture
def images(tmp_path, configure):
  root = tmp_path / 'images'
  write_folder(root)
  config = configure('folder', batch_size=8)
  config.data.data_dir = str(root)
  config.model.name, config.model.num_classes = 'tiny_efficientnet', 2
  return root, config


def refused(config, workdir):
  with pytest.raises(UserError) as error:
    Trainer(config, workdir).run()
  assert not workdir.exists() and '\n' not in str(error.value)
  return str(error.value)


def test_files_that_cannot_be_read_are_counted_and_named(images, tmp_path):
  root, config = images
  broken = {root / 'train' / 'cat' / 'a.jpg': b'', root / 'train' / 'dog' / 'b.png': b'no image'}
  whole = (root / 'train' / 'dog' / '5.jpg').read_bytes()
  broken[root / 'train' / 'dog' / 'cut.jpg'] = whole[: len(whole) // 2]
  for path, content in broken.items():
    path.write_bytes(content)
  text = refused(config, tmp_path / 'workdir')
  assert text.startswith(f'{root / "train"}: 3 of 14 files cannot be read as images: ')
  assert all(f'{path} (' in text for path in broken)
  for number in range(4):
    (root / 'train' / 'cat' / f'more{number}.jpg').write_bytes(b'')
  text = refused(config, tmp_path / 'workdir')
  assert ': 7 of 18 files' in text and text.endswith('; and 2 more')


def test_good_folders_pass(images):
  data.check(images[1])


def test_one_class(images, tmp_path):
  root, config = images
  for split in ('train', 'val'):
    (root / split / 'dog').rename(root / f'{split}_dog')
  assert refused(config, tmp_path / 'workdir') == (
    f"{root / 'train'} has one class, 'cat'; a classifier needs at least 2"
  )


def test_no_validation_split(images, tmp_path):
  root, config = images
  (root / 'val').rename(root / 'valid')
  assert refused(config, tmp_path / 'workdir') == (
    f"{root} has no folder 'val' for data.eval_split. Did you mean 'valid'? Folders: train, valid."
  )

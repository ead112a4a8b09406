"""Image folders: listed once; mistakes are one line and leave no files."""

import collections
import os
import shutil

import pytest

from ecanet_jax import data
from ecanet_jax.config import schema
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.training.logging.writers import read_metrics
from ecanet_jax.training.trainer import Trainer
from tests.support.image_folders import write_mixed_folder


@pytest.fixture
def images(tmp_path, configure):
  root = tmp_path / 'images'
  write_mixed_folder(root)
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
  data.open(images[1]).check()


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


def test_folders_that_cannot_be_used(folder, tmp_path):
  config = schema.get_config()
  config.data.source, config.data.eval_split = 'folder', 'val'
  with pytest.raises(UserError, match=r'needs data\.data_dir'):
    data.open(config)
  root = tmp_path / 'set'
  config.data.data_dir = str(root)
  with pytest.raises(UserError, match='is not a folder'):
    data.open(config)
  shutil.copytree(folder, root)
  config.data.eval_split = 'vall'
  with pytest.raises(UserError, match=r"no folder 'vall' .* Did you mean 'val'"):
    data.open(config)
  config.data.eval_split = 'val'
  for name in ('film.mp4', 'photo.heic', 'notes.txt'):
    (root / 'val' / 'cat' / name).write_bytes(b'')
    with pytest.raises(UserError, match=f'{name}: not an image that can be read'):
      data.open(config)
    (root / 'val' / 'cat' / name).unlink()
  (root / 'val' / 'stray.png').write_bytes(b'')
  with pytest.raises(UserError, match=r'stray\.png: an image outside a class folder'):
    data.open(config)
  (root / 'val' / 'stray.png').unlink()
  (root / 'train' / 'emu').mkdir()
  with pytest.raises(UserError, match='emu: a class folder without any image'):
    data.open(config)
  config.data.allow_empty_classes = True
  with pytest.raises(UserError, match=r'different classes; only in .*train: emu$'):
    data.open(config)
  (root / 'val' / 'emu').mkdir()
  assert data.open(config).info.label_names == ('cat', 'dog', 'emu')
  assert data.open(config).label_counts()[2] == 0
  (root / 'val' / 'emu').rmdir()
  shutil.copy(root / 'train' / 'cat' / '0.jpg', root / 'train' / 'emu' / '0.jpg')
  with pytest.raises(UserError, match=r'different classes; only in .*train: emu$'):
    data.open(config)


def test_odd_folders(folder, tmp_path):
  root = tmp_path / 'set'
  shutil.copytree(folder, root)
  config = schema.get_config()
  config.data.source, config.data.eval_split, config.data.data_dir = 'folder', 'val', str(root)
  cats = root / 'train' / 'cat'
  (tmp_path / 'more').mkdir()
  shutil.copy(cats / '0.jpg', tmp_path / 'more' / 'photo.JFIF')
  (cats / 'more').symlink_to(tmp_path / 'more')
  (cats / 'link.jpg').symlink_to(cats / '0.jpg')
  images = data.open(config).info.train.num_examples
  assert images == 13  # the two links count

  def refused():
    with pytest.raises(UserError) as error:
      data.open(config)
    assert '\n' not in str(error.value)
    return str(error.value)

  (cats / 'gone.jpg').symlink_to(tmp_path / 'nothing.jpg')
  assert refused() == f'{cats}/gone.jpg: a link that leads nowhere; remove it'
  (cats / 'gone.jpg').unlink()
  os.mkfifo(cats / 'pipe.jpg')
  assert refused() == f'{cats}/pipe.jpg: neither a file nor a folder; remove it'
  (cats / 'pipe.jpg').unlink()
  (tmp_path / 'more' / 'back').symlink_to(cats)
  assert refused() == (
    f'{cats}/more/back: the link leads back to {cats}, a folder above it; remove it'
  )


@pytest.fixture
def listed(monkeypatch):
  """Counts how often each folder is listed, by path; os.walk uses os.scandir."""
  counts = collections.Counter()

  def counting(function):
    def count(path='.'):
      counts[str(path)] += 1
      return function(path)

    return count

  monkeypatch.setattr(os, 'scandir', counting(os.scandir))
  monkeypatch.setattr(os, 'listdir', counting(os.listdir))
  return counts


@pytest.mark.slow
def test_a_training_lists_each_folder_once(images, tmp_path, listed):
  root, config = images
  (root / 'train' / 'cat' / 'deeper').mkdir()
  (root / 'train' / 'cat' / '0.jpg').rename(root / 'train' / 'cat' / 'deeper' / '0.jpg')
  config.batch_size, config.epochs, config.eval_epochs, config.loss.balanced = 8, 7.5, 1.5, True
  config.tensorboard, config.schedule.warmup_epochs = False, 0.0
  config.data.size_schedule = ((0, 16), (3, 24))
  config.log_steps = 1
  listed.clear()
  Trainer(config, tmp_path / 'workdir').run()
  assert evaluations(tmp_path / 'workdir') == 5
  found = {path: count for path, count in listed.items() if path.startswith(str(root))}
  folders = [
    os.path.join(parent, name) for parent, names, _ in os.walk(root) for name in names
  ]
  assert found == dict.fromkeys(folders, 1)
  assert len(folders) == 7


def evaluations(workdir):
  return sum('eval/loss' in line for line in read_metrics(workdir))


def test_folders_in_a_bucket_are_listed_like_local_ones(images, here):
  root, config = images
  (root / 'train' / 'cat' / 'more').mkdir()
  shutil.copy(root / 'train' / 'dog' / '5.jpg', root / 'train' / 'cat' / 'more' / 'x.JPG')
  for path in root.rglob('*'):
    if path.is_file():
      here.write(f'images/{path.relative_to(root)}', path.read_bytes())
  local = data.open(config)
  config.data.data_dir = f'{here.root}/images'
  there = data.open(config)
  assert there.info == local.info
  names = [
    [path.decode().removeprefix(str(place)) for path in opened._source._train.paths]
    for opened, place in ((local, root), (there, f'{here.root}/images'))
  ]
  assert names[0] == names[1] and '/train/cat/more/x.JPG' in names[0]
  config.data.train_split = 'trian'
  with pytest.raises(UserError, match=r"no folder 'trian' .* Did you mean 'train'\?"):
    data.open(config)

"""A folder without splits is divided, and stays divided in the same way."""

import csv
import pathlib

import numpy as np
import pytest

from ecanet_jax import data
from ecanet_jax.config import schema
from ecanet_jax.data.sources import holdout
from ecanet_jax.runtime.errors import UserError


@pytest.fixture
def images(tmp_path):
  """Three classes of 10, 5 and 2 files, which nothing decodes here."""
  root = tmp_path / 'images'
  for name, count in (('cat', 10), ('dog', 5), ('owl, grey', 2)):
    (root / name).mkdir(parents=True)
    for number in range(count):
      (root / name / f'{number}.jpg').touch()
  return root


def opened(root, workdir=None, **changes):
  config = schema.get_config()
  config.data.source, config.data.eval_split, config.data.data_dir = 'folder', 'val', str(root)
  config.data.eval_share = 0.2
  config.update_from_flattened_dict(changes)
  return data.open(config, workdir)


def evaluated(workdir):
  """The images that split.csv holds out."""
  with (workdir / holdout.FILE).open(newline='') as file:
    return {row['path'] for row in csv.DictReader(file) if row['split'] == 'val'}


def refused(root, **changes):
  with pytest.raises(UserError) as error:
    opened(root, **changes)
  assert '\n' not in str(error.value)
  return str(error.value)


def test_each_class_has_its_share(images, tmp_path, heard):
  info = opened(images).info
  assert (info.train.num_examples, info.eval.num_examples, info.drawn) == (13, 4, True)
  opened(images).record(tmp_path)
  assert heard.messages == [
    f'{tmp_path / "split.csv"}: 4 of 17 images are held out for evaluation'
  ]
  held_out = evaluated(tmp_path)
  assert sorted(pathlib.PurePath(path).parent.name for path in held_out) == [
    'cat', 'cat', 'dog', 'owl, grey'
  ]
  assert all((images / path).exists() for path in held_out)


def test_the_seed_decides_and_other_classes_do_not(images, tmp_path):
  names = [f'cat/{number}' for number in range(50)]
  one = holdout.choose(names, np.zeros(50, int), 0.2, 0)
  assert one.sum() == 10 and not np.array_equal(one, holdout.choose(names, one * 0, 0.2, 1))
  more = holdout.choose([*names, 'dog/0', 'dog/1'], np.repeat([0, 1], [50, 2]), 0.2, 0)
  assert np.array_equal(more[:50], one)


def test_added_and_removed_images(images, tmp_path, heard):
  opened(images).record(tmp_path)
  before = evaluated(tmp_path)
  (images / 'cat' / 'new.jpg').touch()
  gone = sorted(before)[0]
  (images / gone).unlink()
  heard.clear()
  dataset = opened(images, tmp_path, seed=3, **{'data.eval_share': 0.5})
  info = dataset.info
  assert (info.train.num_examples, info.eval.num_examples, info.drawn) == (14, 3, False)
  added, removed = heard.messages
  assert added == (
    f'{tmp_path / "split.csv"}: 1 images of {images} are not in it; they are training images: '
    'cat/new.jpg'
  )
  assert removed.endswith(f'1 of its images are not in {images}: {gone}')
  dataset.record(tmp_path)
  assert evaluated(tmp_path) == before


def test_other_images(images, tmp_path):
  opened(images).record(tmp_path)
  other = images.rename(images.with_name('other'))
  for path in sorted(other.glob('*/*')):
    path.rename(path.with_name(f'other_{path.name}'))
  with pytest.raises(UserError) as error:
    opened(other, tmp_path)
  assert str(error.value).endswith(
    f'--config.data.data_dir={other.parent} --config.data.eval_split=other'
  )


@pytest.mark.parametrize('content', ['', 'path,label\n', 'path,label,split\na/1.jpg,a,test\n'])
def test_damaged_record(images, tmp_path, content):
  (tmp_path / holdout.FILE).write_text(content)
  with pytest.raises(UserError, match=r'has not the columns path,label,split'):
    opened(images, tmp_path)


def test_two_splits_are_not_divided(images):
  for split in ('train', 'val'):
    for name in ('cat', 'dog'):
      (images / 'both' / split / name).mkdir(parents=True)
      (images / 'both' / split / name / '1.jpg').touch()
  info = opened(images / 'both').info
  assert (info.train.num_examples, info.eval.num_examples, info.drawn) == (2, 2, False)


def test_training_images_without_evaluation_images(images, tmp_path):
  root = tmp_path / 'root'
  root.mkdir()
  images.rename(root / 'train')
  opened(root).record(tmp_path)
  assert {path.split('/')[0] for path in evaluated(tmp_path)} == {'train'}
  assert opened(root, tmp_path).info.eval.num_examples == 4


def test_folders_that_cannot_be_divided(images, tmp_path):
  for number in range(4):
    (images / 'dog' / f'{number}.jpg').unlink()
  assert refused(images).startswith(f'{images / "dog"} has one image; data.eval_share=0.2 needs ')
  assert "has no folder 'train' for data.train_split" in refused(images, **{'data.eval_share': 0.0})
  (images / 'train').mkdir()
  assert refused(images) == (
    f"{images} has the folder 'train' beside cat, dog, owl, grey; give a folder that has only "
    'class folders, or only train and val.'
  )
  other = tmp_path / 'other'
  for name in ('training', 'test'):
    (other / name / 'cat').mkdir(parents=True)
  assert refused(other).endswith(
    'instead of train and val; give --config.data.train_split=training '
    '--config.data.eval_split=test'
  )
  assert refused(tmp_path / 'none').endswith('is not a folder')
  (tmp_path / 'empty').mkdir()
  assert 'has no class folders' in refused(tmp_path / 'empty')
  (tmp_path / 'empty' / 'cat').mkdir()
  (tmp_path / 'empty' / 'cat' / '1.jpg').touch()
  assert "has one class, 'cat'" in refused(tmp_path / 'empty')

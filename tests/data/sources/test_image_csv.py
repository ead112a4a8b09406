"""CSV files of paths and labels: the images of a folder, several labels, mistakes by line."""

import csv

import numpy as np
import pytest

from ecanet_jax import data
from ecanet_jax.runtime.errors import UserError

FOLDER = ('train/cat/0.jpg', 'train/cat/10.jpg', 'train/cat/4.JPEG', 'train/dog/1.png',
          'train/dog/3.webp', 'val/cat/0.jpg', 'val/dog/1.png')


def write(path, *rows, header=('path', 'label', 'split')):
  with path.open('w', newline='') as file:
    csv.writer(file).writerows([header, *rows])
  return path


def read(path):
  with open(path, newline='') as file:
    return list(csv.reader(file))[1:]


@pytest.fixture
def config(configure, folder):
  config = configure('folder')
  config.data.source = 'csv'
  return config


@pytest.fixture
def single(config, folder, tmp_path):
  """The images of the folder by a CSV in another place."""
  rows = []
  for path in sorted((folder).rglob('*/*/*')):
    split, label, name = path.relative_to(folder).parts
    if not name.startswith('.'):
      rows.append((f'{split}/{label}/{name}', label, split))
  config.data.csv = str(write(tmp_path / 'labels.csv', *rows))
  return config


def test_the_images_of_a_folder(single, configure, tmp_path):
  listed, folder = data.open(single), data.open(configure('folder'))
  assert listed.info == folder.info
  listed.check()
  np.testing.assert_array_equal(listed.label_counts(), folder.label_counts())
  for ours, theirs in zip(listed.train(3, 2), folder.train(3, 2)):
    assert ours['label'].dtype == theirs['label'].dtype
    for key in theirs:
      np.testing.assert_array_equal(ours[key], theirs[key])
  for ours, theirs in zip(listed.eval()[0], folder.eval()[0]):
    for key in theirs:
      np.testing.assert_array_equal(ours[key], theirs[key])
  # The same as two files; paths are below data.data_dir, classes in the order of a file.
  rows = read(single.data.csv)
  for split, key in (('train', 'train_split'), ('val', 'eval_split')):
    part = [row[:2] for row in rows if row[2] == split]
    single.data[key] = str(write(tmp_path / f'{split}.csv', *part, header=('path', 'label')))
  single.data.csv = ''
  (tmp_path / 'classes.txt').write_text('dog\ncat\n')
  single.data.class_file = str(tmp_path / 'classes.txt')
  two = data.open(single)
  assert two.info.label_names == ('dog', 'cat')
  first, other = (next(one.train(0, 1)) for one in (two, listed))
  np.testing.assert_array_equal(first['label'], 1 - other['label'])
  np.testing.assert_array_equal(first['image'], other['image'])


@pytest.fixture
def several(config, folder, tmp_path):
  labels = ('cat|old', 'cat', '', 'dog|old|wet', 'dog', 'cat|wet', 'dog')
  rows = [(path, label, path.split('/')[0]) for path, label in zip(FOLDER, labels)]
  config.data.csv = str(write(tmp_path / 'labels.csv', *rows))
  config.data.label_separator = '|'
  return config


def test_several_labels(several):
  several.batch_size = 5
  dataset = data.open(several)
  info = dataset.info
  assert info.multi_label and info.label_names == ('cat', 'dog', 'old', 'wet')
  assert dataset.label_counts().tolist() == [2, 2, 2, 1]
  batch = next(dataset.train(0, 1))
  assert batch['label'].dtype == bool and batch['label'].shape == (5, 4)
  assert sorted(map(tuple, batch['label'].astype(int))) == sorted([
    (1, 0, 1, 0), (1, 0, 0, 0), (0, 0, 0, 0), (0, 1, 1, 1), (0, 1, 0, 0)
  ])
  (evaluation,), _ = dataset.eval(batch_size=4)
  assert evaluation['label'].tolist() == [
    [True, False, False, True], [False, True, False, False], [False] * 4, [False] * 4
  ]
  assert evaluation['mask'].tolist() == [True, True, False, False]
  resident = dataset.resident()
  assert resident.arrays['label'].dtype == bool and resident.arrays['label'].shape == (5, 4)


def test_a_corrupt_image_with_several_labels_is_replaced(several, folder, tmp_path):
  (tmp_path / 'bad.jpg').write_bytes(b'no image')
  rows = read(several.data.csv)
  several.data.csv = str(write(tmp_path / 'l.csv', *rows, (tmp_path / 'bad.jpg', 'wet', 'train')))
  several.batch_size, several.data.max_bad = 6, 0.2
  batch = next(data.open(several).train(0, 1))
  assert batch['label'].shape == (6, 4) and batch['image'].any((1, 2, 3)).all()


MISTAKES = [
  ([('train/cat/0.jpg', 'cat')], ('path', 'lable'), {},
   "labels.csv:1: the header has no column 'label'. Did you mean 'lable'?"),
  ([('no.jpg', 'cat', 'train'), ('no2.jpg', 'cat', 'train')], None, {},
   'labels.csv:5: no file {folder}/no.jpg; the files of 1 more rows are missing, too'),
  ([('train/cat/10.jpg', ' ', 'train')], None, {}, 'labels.csv:5: the label is empty'),
  ([('train/cat/10.jpg', 'cat||dog', 'train')], None, {'data.label_separator': '|'},
   "labels.csv:5: one of the labels 'cat||dog' is empty"),
  ([('train/cat/10.jpg', 'cat', 'trian')], None, {},
   "labels.csv:5: unknown split 'trian'. Did you mean 'train'? Known: test, train, val, vali"),
  ([('train/cat/10.jpg', 'cat')], None, {}, 'labels.csv:5: the row has not 3 fields as the heade'),
  ([('train/cat/10.jpg', 'cat', 'train', 'x')], None, {},
   'labels.csv:5: the row has not 3 fields as the header'),
  ([('train/./cat/0.jpg', 'dog', 'train')], None, {},
   "labels.csv:5: {folder}/train/cat/0.jpg has the label 'dog', and 'cat' in {csv}:2; for several "
   "labels per image set --config.data.label_separator='|'"),
  ([('notes.txt', 'dog', 'train')], None, {},
   "labels.csv:5: 'notes.txt' is not an image that can be read; known extensions: .jpg,"),
  ([('val/cat/0.jpg', 'catt', 'val')], None, {},
   "labels.csv:5: no training image has the label 'catt'. Did you mean 'cat'? If it is right, l"),
  ([], None, {'data.eval_split': 'test'},
   "labels.csv has no row with the split 'test'. Splits: train, val; set --config.data.train_s"),
  ([], None, {'data.csv': ''}, "data.train_split='train' is no CSV file: give --config.data.trai"),
]


@pytest.mark.parametrize(('rows', 'header', 'keys', 'text'), MISTAKES, ids=range(len(MISTAKES)))
def test_mistakes(config, folder, tmp_path, rows, header, keys, text):
  good = [('train/cat/0.jpg', 'cat', 'train'), ('train/dog/1.png', 'dog', 'train'),
          ('val/dog/1.png', 'dog', 'val')]
  path = tmp_path / 'labels.csv'
  if header:
    write(path, *rows, header=header)
  else:
    write(path, *good, *rows)
  config.data.csv = str(path)
  config.update_from_flattened_dict(keys)
  with pytest.raises(UserError) as error:
    data.open(config)
  assert text.format(folder=folder, csv=path) in str(error.value)
  assert '\n' not in str(error.value)


def test_mistakes_of_the_classes(single, tmp_path):
  classes = tmp_path / 'classes.txt'
  single.data.class_file = str(classes)
  for content, text in (
    ('cat\ndogs\n', "the label 'dog' is not in data.class_file={}. Did you mean 'dogs'?"),
    ('cat\ndog\ncat\n', "data.class_file={} has the class 'cat' twice"),
  ):
    classes.write_text(content)
    with pytest.raises(UserError) as error:
      data.open(single)
    assert text.format(classes) in str(error.value)
  classes.unlink()
  with pytest.raises(UserError, match=r'classes\.txt cannot be read: No such file'):
    data.open(single)
  single.data.class_file, single.data.csv = '', str(tmp_path / 'none.csv')
  with pytest.raises(UserError, match=r'none\.csv: the CSV file cannot be read: No such file'):
    data.open(single)

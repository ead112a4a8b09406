"""`prepare`: the real imagenet2012 builder and ours, and what is said about bad input."""

import io
import itertools
import shutil
import tarfile

import numpy as np
import pytest

from ecanet_jax import data
from ecanet_jax.config import schema
from ecanet_jax.data.sources import in_memory
from ecanet_jax.runtime.errors import UserError
from tests.support.imagenet_tars import (
  SYNSETS,
  add_file,
  encode,
  smooth_image,
  write_ilsvrc2012_tars,
)
from tests.support.prepare import run_prepare


@pytest.mark.parametrize('file_format', ['tfrecord', 'array_record'])
def test_imagenet_from_its_archives(imagenet, capsys, file_format):
  directory = getattr(imagenet, file_format)
  assert run_prepare('--dataset=imagenet2012', f'--data_dir={directory}', '--verify=full') == 0
  lines = capsys.readouterr().out.splitlines()
  assert f'already prepared in {directory}' in lines[0] and f'({file_format})' in lines[0]
  assert lines[1:] == [
    'imagenet2012 train: 15 images, 3 of 1,000 classes, 15 images decoded, ok '
    '(not the whole of ImageNet: 1,281,167 images)',
    'imagenet2012 validation: 7 images, 7 of 1,000 classes, 7 images decoded, ok '
    '(not the whole of ImageNet: 50,000 images)',
  ]
  config = schema.get_config()
  config.batch_size, config.data.data_dir, config.data.image_size = 15, str(directory), 32
  batch = next(data.open(config).train(0))
  names = data.open(config).info.label_names
  assert sorted(names[label] for label in batch['label']) == sorted(SYNSETS * 5)


def test_both_formats_give_the_same_images(imagenet):
  found = []
  for directory in (imagenet.tfrecord, imagenet.array_record):
    config = schema.get_config()
    config.batch_size, config.data.data_dir, config.data.image_size = 7, str(directory), 32
    batch = next(data.open(config).eval()[0])
    found.append(sorted(zip((image.tobytes() for image in batch['image']), batch['label'])))
  assert found[0] == found[1]


def test_digits(digits_dir, capsys):
  assert run_prepare('--dataset=digits', f'--data_dir={digits_dir}', '--verify_only') == 0
  lines = capsys.readouterr().out.splitlines()
  assert lines[1:] == [
    'digits train: 1,437 images, 10 of 10 classes, 1,437 images decoded, ok',
    'digits test: 360 images, 10 of 10 classes, 360 images decoded, ok',
  ]
  config = schema.get_config()
  config.batch_size, config.data.name, config.data.data_dir = 360, 'digits', str(digits_dir)
  config.data.eval_split, config.data.image_size, config.data.crop_fraction = 'test', 8, 1.0
  batch = next(data.open(config).eval()[0])
  test = in_memory.digits()[1]
  expected = sorted((i.repeat(3, -1).tobytes(), k) for i, k in zip(test['image'], test['label']))
  assert sorted(zip((i.tobytes() for i in batch['image']), batch['label'])) == expected


def test_many_files_are_read_in_one_order(tmp_path):
  import tensorflow_datasets as tfds

  from ecanet_jax.data import tfds_builders

  tfds_builders.register('digits')
  builder = tfds.builder('digits', data_dir=tmp_path)
  builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=7))
  config = schema.get_config()
  config.batch_size, config.data.name, config.data.data_dir = 64, 'digits', str(tmp_path)
  config.data.eval_split, config.data.image_size, config.data.shuffle_buffer = 'test', 8, 100
  whole = list(itertools.islice(data.open(config).train(0), 30))
  for start in (5, 24):
    for one, other in zip(whole[start:], data.open(config).train(start)):
      np.testing.assert_array_equal(one['image'], other['image'])
      np.testing.assert_array_equal(one['label'], other['label'])


def test_prepared_in_the_other_format(imagenet):
  with pytest.raises(UserError, match=r'already prepared as tfrecord .* use another --data_dir'):
    run_prepare(
      '--dataset=imagenet2012', f'--data_dir={imagenet.tfrecord}', '--file_format=array_record'
    )


def test_data_that_are_not_prepared(tmp_path):
  config = schema.get_config()
  config.data.data_dir = str(tmp_path)
  command = f'python -m ecanet_jax prepare --dataset=imagenet2012 --data_dir={tmp_path}'
  with pytest.raises(UserError) as error:
    data.open(config)
  assert f'Prepare it: {command} --manual_dir=DIR (DIR holds ILSVRC2012_img_' in str(error.value)
  assert '\n' not in str(error.value)
  with pytest.raises(UserError, match='not prepared'):
    run_prepare('--dataset=imagenet2012', f'--data_dir={tmp_path}', '--verify_only')
  config.data.name = 'digits'
  with pytest.raises(UserError) as error:
    data.open(config)
  assert str(error.value).endswith(f'prepare --dataset=digits --data_dir={tmp_path}')


@pytest.mark.parametrize(
  ('name', 'near'),
  [('digit', 'digits'), ('cifar_10', 'cifar10'), ('imagenet', 'imagenet2012')],
)
def test_unknown_data_set(tmp_path, name, near):
  config = schema.get_config()
  config.data.data_dir, config.data.name = str(tmp_path), name
  with pytest.raises(UserError, match=f"unknown data set '{name}'. Did you mean '{near}'"):
    data.open(config)
  with pytest.raises(UserError, match=f"unknown data set '{name}'. Did you mean '{near}'"):
    run_prepare(f'--dataset={name}', f'--data_dir={tmp_path}')


def test_unknown_split(imagenet):
  config = schema.get_config()
  config.data.data_dir, config.data.eval_split = str(imagenet.tfrecord), 'valid'
  with pytest.raises(UserError, match=r"unknown split .* 'valid'. Did you mean 'validation'"):
    data.open(config)


def prepare_imagenet(manual, root):
  run_prepare('--dataset=imagenet2012', f'--data_dir={root / "data"}', f'--manual_dir={manual}')


def test_missing_archives(tmp_path):
  with pytest.raises(UserError, match=r'missing .*img_train\.tar and .*img_val\.tar; get') as error:
    prepare_imagenet(tmp_path, tmp_path)
  assert '\n' not in str(error.value)
  write_ilsvrc2012_tars(tmp_path, train_per_class=1, val_count=1)
  (tmp_path / 'ILSVRC2012_img_train.tar').unlink()
  with pytest.raises(UserError, match=r'missing [^ ]*img_train\.tar; get'):
    prepare_imagenet(tmp_path, tmp_path)


@pytest.mark.parametrize('name', ['ILSVRC2012_img_train.tar', 'ILSVRC2012_img_val.tar'])
def test_truncated_archive(imagenet, tmp_path, name):
  shutil.copytree(imagenet.manual, tmp_path / 'manual')
  path = tmp_path / 'manual' / name
  content = path.read_bytes().rstrip(b'\0')
  path.write_bytes(content[: len(content) * 2 // 3])
  with pytest.raises(UserError, match=f'{name} is damaged or incomplete') as error:
    prepare_imagenet(tmp_path / 'manual', tmp_path)
  assert '\n' not in str(error.value)


def test_archives_that_were_packed_again(imagenet, tmp_path):
  manual = tmp_path / 'manual'
  shutil.copytree(imagenet.manual, manual)
  with tarfile.open(manual / 'ILSVRC2012_img_val.tar') as archive:
    files = [(member.name, archive.extractfile(member).read()) for member in archive]
  with tarfile.open(manual / 'ILSVRC2012_img_val.tar', 'w') as archive:
    for name, content in files:
      add_file(archive, f'./{name}', content)
  with pytest.raises(UserError, match=r"not the original archive: it contains './ILSVRC2012_val_"):
    prepare_imagenet(manual, tmp_path)
  shutil.copy(imagenet.manual / 'ILSVRC2012_img_val.tar', manual)
  with tarfile.open(manual / 'ILSVRC2012_img_train.tar', 'w') as archive:
    add_file(archive, 'n01440764/n01440764_0.JPEG', b'')
  with pytest.raises(UserError, match=r"contains 'n01440764/n01440764_0\.JPEG', not names like"):
    prepare_imagenet(manual, tmp_path)


def test_damaged_inner_archive(imagenet, tmp_path):
  manual = tmp_path / 'manual'
  shutil.copytree(imagenet.manual, manual)
  with tarfile.open(manual / 'ILSVRC2012_img_train.tar', 'w') as archive:
    add_file(archive, 'n01440764.tar', b'not an archive' * 100)
  with pytest.raises(UserError, match='imagenet2012 cannot be prepared: ReadError') as error:
    prepare_imagenet(manual, tmp_path)
  assert '\n' not in str(error.value)


def test_image_that_cannot_be_decoded(imagenet, tmp_path):
  manual = tmp_path / 'manual'
  shutil.copytree(imagenet.manual, manual)
  inner = io.BytesIO()
  with tarfile.open(fileobj=inner, mode='w') as archive:
    whole = encode(smooth_image(np.random.RandomState(0), 120, 150))
    add_file(archive, 'n01440764_0.JPEG', whole)
    add_file(archive, 'n01440764_1.JPEG', whole[: len(whole) // 2])
  with tarfile.open(manual / 'ILSVRC2012_img_train.tar', 'w') as archive:
    add_file(archive, 'n01440764.tar', inner.getvalue())
  with pytest.raises(UserError, match=r'imagenet2012-train\.tfrecord.*cannot be decoded') as error:
    prepare_imagenet(manual, tmp_path)
  assert '\n' not in str(error.value)


def test_array_record_is_not_for_buckets():
  with pytest.raises(UserError) as error:
    run_prepare('--dataset=digits', '--data_dir=gs://bucket/x', '--file_format=array_record')
  assert str(error.value) == (
    '--file_format=array_record writes to local disks only, and --data_dir=gs://bucket/x is in a '
    'bucket; give --file_format=tfrecord.'
  )

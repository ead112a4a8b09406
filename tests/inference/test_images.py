"""The preprocessing of `load` is that of the evaluation and of timm; pictures of any form."""

import numpy as np
import pytest
from PIL import Image

from ecanet_jax.inference import images
from ecanet_jax.inference.find_images import find_images
from ecanet_jax.runtime.errors import UserError
from tests.support.imagenet_tars import encode, smooth_image

PICTURE = smooth_image(np.random.RandomState(1), 61, 90)
FILES = {
  'jpeg': encode(PICTURE, quality=90, subsampling=0),
  'halved colours': encode(PICTURE, quality=90), 'png': encode(PICTURE, 'PNG'),
  'grey': encode(PICTURE.convert('L'), quality=90), 'alpha': encode(PICTURE.convert('RGBA'), 'PNG'),
  'palette': encode(PICTURE.convert('P'), 'PNG', transparency=0),
  '16 bits': encode(Image.fromarray(np.asarray(PICTURE.convert('L'), np.uint16) * 257), 'PNG'),
}


def data(size, fraction, interpolation, mode='center'):
  return {
    'crop_mode': mode,
    'image_size': size, 'crop_fraction': fraction, 'interpolation': interpolation,
    'mean': [0.5, 0.4, 0.3], 'std': [0.2, 0.3, 0.4],
  }


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
@pytest.mark.parametrize(('size', 'fraction', 'mode'), [
  (32, 0.875, 'center'), (48, 1.0, 'center'), (80, 0.71, 'center'), (32, 0.875, 'squash'),
])
def test_it_is_that_of_the_evaluation(interpolation, size, fraction, mode):
  tf = pytest.importorskip('tensorflow')
  from ecanet_jax.data.tfdata.decode import eval_transform

  evaluation = eval_transform(size, fraction, interpolation, crop_mode=mode)
  for name, content in FILES.items():
    expected = evaluation(tf.constant(content)).numpy().astype(int)
    given = data(size, fraction, interpolation, mode)
    ours = images.resize_and_crop(images.read_image(content), given)
    difference = np.abs(np.asarray(ours) - expected)
    # Pillow clips between its two passes, which a dithered picture shows.
    assert difference.max() <= (8 if name == 'palette' else 1), name
    assert (difference > 1).mean() < 0.02, name


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
@pytest.mark.parametrize(('size', 'fraction', 'mode'), [
  (32, 0.875, 'center'), (33, 0.95, 'center'), (48, 1.0, 'center'), (32, 0.875, 'squash'),
])
def test_it_is_that_of_timm(interpolation, size, fraction, mode):
  timm = pytest.importorskip('timm')
  given = data(size, fraction, interpolation, mode)
  transform = timm.data.create_transform(
    size, interpolation=interpolation, mean=given['mean'], std=given['std'], crop_pct=fraction,
    crop_mode=mode,
  )
  ours = images.normalise(images.resize_and_crop(PICTURE, given), given)
  np.testing.assert_allclose(ours, transform(PICTURE).numpy().transpose(1, 2, 0), atol=1e-6)


def test_all_forms_of_a_picture_are_the_same(tmp_path):
  path = tmp_path / 'a.png'
  path.write_bytes(FILES['png'])
  pixels = np.asarray(PICTURE)
  rgba = np.concatenate([pixels, pixels[..., :1]], -1)
  for form in (path, str(path), FILES['png'], PICTURE, pixels, pixels / np.float32(255), rgba,
               PICTURE.convert('RGBA')):
    np.testing.assert_array_equal(np.asarray(images.read_image(form)), pixels)
    assert images.is_one(form)
  grey = pixels[..., 0]
  for form in (grey, grey[..., None], Image.fromarray(grey)):
    np.testing.assert_array_equal(np.asarray(images.read_image(form)), np.stack([grey] * 3, -1))
  assert not images.is_one(pixels[None]) and not images.is_one([path])


@pytest.mark.parametrize(('picture', 'text'), [
  ('nowhere.jpg', 'nowhere.jpg: no such file.'),
  ('.', '. is a folder; give the pictures in it.'),
  (b'', 'the image of 0 bytes: the image cannot be decoded: the file is empty.'),
  (b'GARBAGE' * 9, 'the image of 63 bytes: the image cannot be decoded: it is no image '),
  (FILES['jpeg'][:300], 'bytes: the image cannot be decoded: '),
  (np.zeros((4, 4, 2), np.uint8), r'shape (4, 4, 2) is no picture; give [H, W, 3]'),
  (np.full((4, 4, 3), 200.0), 'from 200 to 200 must be in 0..1'),
  (np.full((4, 4, 3), np.nan), 'must be in 0..1'),
  (np.zeros((4, 4, 3), np.int64), 'type int64 must be uint8'),
  (7, 'int is no picture'),
  (Image.new('F', (4, 4)), 'the image cannot be decoded: it has floating point pixels'),
])
def test_no_picture(picture, text):
  with pytest.raises(UserError) as error:
    images.read_image(picture)
  assert text in str(error.value) and '\n' not in str(error.value)


def test_unknown_interpolation():
  with pytest.raises(UserError, match=r"unknown interpolation .* 'lanczos'"):
    images.resize_and_crop(PICTURE, data(32, 0.9, 'lanczos'))
  with pytest.raises(UserError, match=r"unknown crop_mode 'squish'. Did you mean 'squash'?"):
    images.resize_and_crop(PICTURE, data(32, 0.9, 'bicubic', 'squish'))


def test_files_folders_and_patterns(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for name in ('b.jpg', 'a.PNG', 'in/c.jpeg', 'in/.hidden.jpg', 'in/text.txt', 'in/x[1].jpg',
               '.dark/d.jpg', 'empty/e.txt'):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b'')
  everything = ['a.PNG', 'b.jpg', 'in/c.jpeg', 'in/x[1].jpg']
  assert sorted(find_images(['.'])) == everything
  assert find_images(['b.jpg', 'in', 'b.jpg']) == ['b.jpg', 'in/c.jpeg', 'in/x[1].jpg']
  assert find_images(['*.jpg', 'in/x[1].jpg', 'in/text.txt']) == [
    'b.jpg', 'in/x[1].jpg', 'in/text.txt'
  ]
  assert find_images(['i*']) == ['in/c.jpeg', 'in/x[1].jpg']
  assert find_images(['**/*.jpeg']) == ['in/c.jpeg']
  for name, text in {
    'c.jpg': 'c.jpg: no such file or folder', '*.gif': 'no picture matches this pattern',
    'empty': 'empty: no picture in this folder; known extensions: .jpg',
  }.items():
    with pytest.raises(UserError) as error:
      find_images([name])
    assert text in str(error.value)

"""Every image file is Pillow's `convert('RGB')`, or is refused by name."""

import collections

import numpy as np
import pytest
from PIL import Image, ImageOps

from ecanet_jax.data import image_files
from ecanet_jax.runtime.errors import UserError
from tests.support import image_formats
from tests.support.imagenet_tars import encode

tf = pytest.importorskip('tensorflow')
pytestmark = pytest.mark.filterwarnings('ignore::UserWarning:PIL')

COLOURS = image_formats.picture('RGB')
FUZZED = {
  'jpeg': encode(COLOURS), 'progressive': encode(COLOURS, progressive=True),
  'grey jpeg': encode(COLOURS.convert('L')), 'png': encode(COLOURS, 'PNG'),
  'palette': encode(COLOURS.quantize(16), 'PNG'), 'webp': encode(COLOURS, 'WEBP'),
  'lossless webp': encode(image_formats.picture('RGBA'), 'WEBP', lossless=True),
  'gif': encode(COLOURS, 'GIF'), 'bmp': encode(COLOURS, 'BMP'), 'ppm': encode(COLOURS, 'PPM'),
  'tiff': encode(COLOURS, 'TIFF', compression='tiff_lzw'),
}


@pytest.fixture(scope='module')
def decoders():
  """Functions bytes -> (pixels or None, message): decode, decode_crop, with EXIF applied."""
  from ecanet_jax.data.tfdata import decode
  from ecanet_jax.data.tfdata.corrupt_images import error_text

  def safely(function):
    graph = tf.function(
      function, input_signature=[tf.TensorSpec([], tf.string)], autograph=False
    ).get_concrete_function()

    def apply(content):
      try:
        return graph(tf.constant(content)).numpy(), ''
      except tf.errors.OpError as error:
        return None, error_text(error)

    return apply

  def box(height, width):
    return tf.stack([height // 3, width // 3, height - height // 2, width // 2])

  return {
    'whole': safely(decode.decode),
    'crop': safely(lambda data: decode.decode_crop(data, box)),
    'turned': safely(lambda data: decode.decode(data, 'apply')),
  }


def test_every_file_is_that_of_pillow_or_is_refused(decoders):
  counts = collections.Counter()
  files = image_formats.written_by_pillow() | image_formats.of_packages()
  for name, content in files.items():
    expected = image_formats.by_pillow(content)
    found, message = decoders['whole'](content)
    if found is None:
      assert expected is None or 'floating point pixels' in message, (name, message)
      assert message and '\n' not in message and 'Traceback' not in message
      with pytest.raises(UserError):
        image_files.decode(content)
      counts['refused'] += 1
      continue
    np.testing.assert_array_equal(found, expected, name)
    np.testing.assert_array_equal(image_files.decode(content), expected, name)
    height, width = expected.shape[:2]
    part = expected[height // 3 :, width // 3 :][: height - height // 2, : width // 2]
    np.testing.assert_array_equal(decoders['crop'](content)[0], part, name)
    counts['equal'] += 1
  print(dict(counts))
  assert counts['equal'] >= 200 and counts['refused'] <= 8


def test_exif_orientation(decoders):
  stored = np.asarray(COLOURS)
  for orientation in range(1, 9):
    for name, content in image_formats.with_orientation(COLOURS, orientation).items():
      image = Image.fromarray(image_formats.by_pillow(content))
      image.getexif()[0x0112] = orientation
      expected = np.asarray(ImageOps.exif_transpose(image))
      assert (expected.shape == stored.shape) == (orientation < 5)
      np.testing.assert_array_equal(decoders['turned'](content)[0], expected, name)
      np.testing.assert_array_equal(image_files.decode(content, 'apply'), expected, name)
      assert decoders['whole'](content)[0].shape == stored.shape


def test_training_and_evaluation_apply_the_orientation():
  from ecanet_jax.config import schema
  from ecanet_jax.data.tfdata import decode

  square = COLOURS.crop((0, 0, 32, 32))
  content = tf.constant(image_formats.with_orientation(square, 6)['JPEG turned 6'])
  stored = decode.eval_transform(32, 1.0, 'bicubic')(content).numpy()
  turned = decode.eval_transform(32, 1.0, 'bicubic', exif='apply')(content)
  np.testing.assert_array_equal(turned, np.rot90(stored, -1))
  config = schema.get_config().data
  config.crop, config.crop_fraction, config.flip, config.exif = 'center', 1.0, False, 'apply'
  trained = decode.train_transform(config, 32)(content, tf.constant([0, 0], tf.int64))
  np.testing.assert_array_equal(trained, turned)


def check_damaged(decoders, kind, count):
  original = image_formats.by_pillow(FUZZED[kind])
  for number, content in enumerate(image_formats.damaged(FUZZED[kind], count)):
    expected = image_formats.by_pillow(content)
    found, message = decoders['whole'](content)
    if found is None:
      assert message and '\n' not in message and 'Traceback' not in message, (number, message)
    elif expected is None:  # of a PNG, TensorFlow ignores damaged metadata
      assert content[:4] == b'\x89PNG', number
      np.testing.assert_array_equal(found, original, str(number))
    else:
      np.testing.assert_array_equal(found, expected, str(number))


@pytest.mark.parametrize('kind', FUZZED)
def test_damaged_files(decoders, kind):
  check_damaged(decoders, kind, 40)


@pytest.mark.slow
@pytest.mark.parametrize('kind', FUZZED)
def test_many_damaged_files(decoders, kind):
  check_damaged(decoders, kind, 500)


def test_inputs_of_public_reports(decoders):
  grey = np.full((8, 8), 700, np.uint16)
  reports = {
    # pytorch/vision#6538: 20 images of ImageNet are CMYK.
    'cmyk': encode(COLOURS.convert('CMYK')),
    # tensorflow/tensorflow#28256: a PNG with a palette.
    'palette': encode(COLOURS.quantize(7), 'PNG'),
    # OlafenwaMoses/ImageAI#200: 'Palette images with Transparency expressed in bytes'.
    'palette with alpha': encode(COLOURS.quantize(7), 'PNG', transparency=bytes(7)),
    # 16 bits are clipped, not scaled.
    '16 bits': encode(Image.fromarray(grey), 'PNG'),
    # They lack nothing but the end mark.
    'jpeg without end': encode(COLOURS)[:-2],
    'png without end': encode(COLOURS, 'PNG')[:-12],
    'jpeg with more behind it': encode(COLOURS) + b'<?xml?>' * 9,
    'png with more behind it': encode(COLOURS, 'PNG') + bytes(9),
    # Of cameras with two lenses: more than one JPEG in a file.
    'mpo': encode(COLOURS, 'MPO', save_all=True, append_images=[COLOURS.rotate(90)]),
  }
  for name, content in reports.items():
    np.testing.assert_array_equal(
      decoders['whole'](content)[0], image_formats.by_pillow(content), name
    )
  assert decoders['whole'](reports['16 bits'])[0].min() == 255


@pytest.mark.parametrize(('content', 'reason'), [
  (b'', 'the file is empty'),
  (b'GARBAGE' * 20, 'it is no image that Pillow can read'),
  (encode(COLOURS, 'EPS'), 'EPS is no raster format; convert it to PNG'),
  (encode(image_formats.picture('F'), 'TIFF'), 'floating point pixels'),
  (encode(COLOURS, 'GIF')[:-300], 'truncated'),
])
def test_the_reason_is_named(decoders, content, reason):
  found, message = decoders['whole'](content)
  assert found is None and reason in message
  with pytest.raises(UserError) as error:
    image_files.decode(content)
  assert str(error.value) == message


def test_too_many_pixels(decoders, monkeypatch):
  from ecanet_jax.data.tfdata import decode

  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 500)
  monkeypatch.setattr(decode, 'FAST_PIXELS', 500)
  for file_format in ('JPEG', 'PNG', 'WEBP', 'BMP'):
    content = encode(COLOURS, file_format)
    with pytest.raises(UserError, match='too many pixels, more than 1,000'):
      decode.decode(tf.constant(content))
    with pytest.raises(UserError, match='too many pixels, more than 1,000'):
      image_files.decode(content)


def test_unknown_exif():
  with pytest.raises(UserError, match=r"unknown exif .* 'aply'\. Did you mean 'apply'"):
    image_files.decode(encode(COLOURS), 'aply')

"""`ecanet_jax export` of a detector: StableHLO that needs only JAX, compared by its detections."""

import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from ecanet_jax import cli
from ecanet_jax.checkpoints.files import save_weights
from ecanet_jax.data.detection.digit_scenes import SceneSplit
from ecanet_jax.data.summary import DataSummary
from ecanet_jax.detection.from_config import create_from_config
from ecanet_jax.export.detection.export import find_bucket, judge, load, normaliser, write
from ecanet_jax.export.detection.images import as_given, noise, run
from ecanet_jax.export.detection.matches import Matches
from ecanet_jax.export.detection.program import program_of
from ecanet_jax.export.options import PLATFORMS
from ecanet_jax.inference.detector import load_detector
from ecanet_jax.runtime.errors import UserError
from tests.support.random_variables import random_variables
from tests.support.small_detector import configured

NAMES = tuple('abcdefghij')


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """Weights of a Mask R-CNN with two buckets."""
  path = tmp_path_factory.mktemp('detector') / 'workdir'
  config = configured(**{'detection.buckets': ((64, 96), (96, 64)), 'detection.longer': 96})
  variables = random_variables(create_from_config(config.model))
  for head, factor in (('rpn', 0.03), ('box_head', 0.25)):  # boxes near the anchors
    layer = variables['params'][head]['boxes']
    layer |= {name: factor * value for name, value in layer.items()}
  save_weights(path, config.to_dict(), variables, DataSummary(10, NAMES).to_json())
  return path


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
  """A picture of the first bucket, and three of the second."""
  folder = tmp_path_factory.mktemp('photos')
  for number, size in enumerate(((60, 90), (70, 75), (90, 120), (90, 60))):
    image, _ = SceneSplit('validation', 0, 4).load(number)
    Image.fromarray(image).resize(size).save(folder / f'{number}.png')
  return folder


@pytest.fixture(scope='module')
def exported(tmp_path_factory, workdir, photos):
  out = tmp_path_factory.mktemp('exported') / 'out'
  assert cli.main(['export', str(workdir), str(out), '--preprocess=inside', '--labels',
                   '--image_size=96x64', '--platforms=cpu', f'--check={photos}']) == 0
  return out


def test_it_runs_without_this_package(exported, tmp_path):
  """In a process that cannot import it, for one image: the same labels, boxes within 0.001."""
  image = noise((96, 64))
  np.savez(tmp_path / 'in.npz', pixels=image.pixels[:1].astype(np.float32), sizes=image.sizes[:1])
  code = (
    "import sys; sys.modules['ecanet_jax'] = sys.modules['flax'] = None\n"
    'import pathlib, jax.export, numpy as np\n'
    'file, given, out = sys.argv[1:]\n'
    'file, given = bytearray(pathlib.Path(file).read_bytes()), np.load(given)\n'
    "found = jax.export.deserialize(file).call(given['pixels'], given['sizes'])\n"
    'np.savez(out, **{key: np.asarray(value) for key, value in found.items()})\n'
  )
  command = [sys.executable, '-c', code, str(exported / 'model.stablehlo'),
             str(tmp_path / 'in.npz'), str(tmp_path / 'out.npz')]
  subprocess.run(command, check=True, timeout=300, cwd=tmp_path, capture_output=True)
  found = np.load(tmp_path / 'out.npz')
  expected = safetensors.numpy.load_file(exported / 'reference.safetensors')  # of JAX
  assert set(found.files) == set(expected) == {'boxes', 'scores', 'labels', 'valid', 'masks'}
  assert expected['valid'][0].sum() > 3
  for name in ('valid', 'labels'):
    np.testing.assert_array_equal(found[name], expected[name][:1])
  for name, difference in (('boxes', 1e-3), ('scores', 1e-4), ('masks', 1e-3)):
    np.testing.assert_allclose(found[name], expected[name][:1], atol=difference)


def test_what_is_in_the_folder(exported, workdir):
  content = json.loads((exported / 'export.json').read_text())
  assert content['task'] == 'detection' and content['network'] == 'mask_rcnn_r50_fpn'
  assert content['image_shape'] == [96, 64, 3] and content['batch'] == 1
  assert content['inputs'] == {
    'images': 'float32 [1, 96, 64, 3], pixels from 0 to 255, zeros right of and below each',
    'image_sizes': 'int32 [1, 2], height and width without the zeros'}
  assert content['outputs']['boxes'].startswith('float32 [1, 8, 4], x1, y1, x2, y2 in pixels')
  assert content['outputs']['masks'].startswith('float32 [1, 8, 28, 28], probabilities')
  rules = content['preprocessing']
  assert (rules['shorter'], rules['longer'], rules['padded_to']) == (64, 96, [96, 64])
  assert content['score_threshold'] == 0.05 and content['classes'] == list(NAMES)
  assert (exported / 'labels.txt').read_text().split() == list(NAMES)
  entry = content['formats']['stablehlo']
  digest = hashlib.sha256((exported / 'model.stablehlo').read_bytes()).hexdigest()
  assert entry['files']['model.stablehlo']['sha256'] == digest
  assert entry['compared']['photographs']['images'] == 3
  for each in entry['compared'].values():
    assert each['found'] > 3 and each['alone'] == 0 and each['box'] < 1e-3


def test_check_again(exported, tmp_path, capsys):
  copy = shutil.copytree(exported, tmp_path / 'copy')
  assert cli.main(['export', f'--check={copy}']) == 0
  assert 'checksums equal; on 3 images of noise' in capsys.readouterr().out
  (copy / 'reference.safetensors').write_bytes(b'')
  assert cli.main(['export', f'--check={copy}']) == 2
  assert 'reference.safetensors is damaged' in capsys.readouterr().err


def test_another_batch_and_the_same_bytes_again(exported, workdir, tmp_path):
  """For all platforms, and normalised images; the last batch is filled up."""
  detector, size = load_detector(workdir), (96, 64)
  program = program_of(detector, size, batch=2)
  for name in 'ab':
    write(program, tmp_path / name, PLATFORMS)
  assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()
  images = noise(size)
  given = as_given(images, program, normaliser(detector.mean, detector.std))
  assert given.dtype == np.float32 and not given[1][:, images.sizes[1][1]:].any()
  found = run(load(tmp_path / 'a'), given, images.sizes, 2)
  assert found['boxes'].shape == (3, 8, 4)
  match = Matches.of(found, safetensors.numpy.load_file(exported / 'reference.safetensors'))
  assert match.found > 9 and not match.fault(1e-3)


@pytest.mark.parametrize(('flags', 'message'), [
  (['--format=onnx'], 'onnx: a detector has loops (while, of NMS), sorts and gathers, which'),
  (['--format=stablehlo,tflite_int8'], 'tflite_int8: a detector has loops'),
  (['--format=saved_model'], 'saved_model: TensorFlow does not read the operator top_k'),
  (['--batch=dynamic'], '--batch=dynamic: a detector has fixed shapes; give a number'),
  (['--image_size=64'], "Did you mean '96x64'? Known: 64x96, 96x64 (height x width)."),
  (['--image_size=64xx'], '--image_size=64xx must be at least 1, such as 224, or HEIGHTxWIDTH'),
  (['--kind=emma'], "unknown kind 'emma'. Did you mean 'ema'?"),
  (['--calibrate=photos'], '--calibrate=photos is for classification networks'),
  (['--model=mask_rcnn_r50_fpn'], 'a file of a detector is converted first: ecanet_jax convert'),
])
def test_mistakes(flags, message, workdir, tmp_path, capsys):
  assert cli.main(['export', str(workdir), str(tmp_path / 'out'), *flags]) == 2
  error = capsys.readouterr().err
  assert message in error and len(error.splitlines()) == 1
  assert not list(tmp_path.iterdir())


def detections(boxes, labels, scores):
  count = len(labels)
  return {'boxes': np.array([boxes], np.float32), 'labels': np.array([labels]),
          'scores': np.array([scores], np.float32), 'valid': np.ones((1, count), bool)}


def test_detections_are_matched_by_class_and_place():
  boxes, labels, scores = [[0, 0, 9, 9], [5, 5, 20, 20], [0, 0, 9, 9]], [1, 1, 2], [0.9, 0.8, 0.8]
  ours = detections(boxes, labels, scores)
  order = [2, 0, 1]
  other = detections(*([each[row] for row in order] for each in (boxes, labels, scores)))
  same = Matches.of(other, ours)
  assert same == Matches(1, 3, 0, 0.0, 0.0, 0.0) and not same.fault(0.01)
  moved = detections([[0, 0, 9, 9.5], *boxes[1:]], labels, [0.9, 0.8, 0.7])
  match = Matches.of(moved, ours)
  assert match.alone == 0 and match.box == 0.5
  assert match.score == pytest.approx(0.1) and 'boxes differ by 5.0e-01 pixels' in match.fault(0.01)
  assert 'scores differ by 1.0e-01' in match.fault(1.0)
  renamed = Matches.of(detections(boxes, [1, 1, 3], scores), ours)
  assert renamed.alone == 2 and '2 detections are on one side alone, of 3' in renamed.fault(0.01)
  fewer = {**ours, 'valid': np.array([[True, True, False]])}
  assert Matches.of(fewer, ours).alone == Matches.of(ours, fewer).alone == 1


def test_a_file_that_cannot_be_compared_is_refused():
  nothing = Matches.of(*2 * [detections(np.zeros((0, 4)), [], [])])
  assert nothing == Matches(1, 0, 0, 0.0, 0.0, 0.0)
  with pytest.raises(UserError, match=r'finds nothing on 1 images of noise.*give --check=DIR'):
    judge([noise((32, 32))], [nothing], 0.01)


def test_the_first_bucket_is_the_default(workdir):
  assert find_bucket(load_detector(workdir), None) == (64, 96)

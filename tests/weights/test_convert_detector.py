"""`convert` with detectors: a training as a file of other code, and such a file as weights."""

import dataclasses

import jax
import numpy as np
import pytest
import torch

from ecanet_jax import cli
from ecanet_jax.checkpoints.files import load_weights, save_weights
from ecanet_jax.data.summary import DataSummary
from ecanet_jax.detection.from_config import create_from_config
from ecanet_jax.detection.records import RECORDS
from ecanet_jax.inference.detector import is_detector_training, load_detector
from ecanet_jax.weights import read_state_dict, to_torch, write_state_dict
from tests.support import detector_twins
from tests.support.random_variables import random_variables
from tests.support.small_detector import configured


def save(path, **changes):
  """Writes a detector with random weights as a checkpoint; returns its variables."""
  config = configured(**changes)
  variables = random_variables(create_from_config(config.model))
  names = tuple(map(str, range(config.model.num_classes)))
  save_weights(path, config.to_dict(), variables, DataSummary(len(names), names).to_json())
  return variables


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """A Mask R-CNN with torchvision's rules, and its variables."""
  path = tmp_path_factory.mktemp('detector') / 'workdir'
  return path, save(path)


@pytest.fixture
def small_record(monkeypatch):
  """A Faster R-CNN that is registered with few channels; its name, and a network of 4 classes."""
  name, record = 'small_faster_rcnn', RECORDS['faster_rcnn_r50_fpn']
  monkeypatch.setitem(RECORDS, name, dataclasses.replace(
    record, name=name, fields={**record.fields, 'channels': 8, 'hidden': 16},
    backbone_fields={**record.backbone_fields, 'depths': (1, 1, 1, 1), 'planes': 8}))
  return name, create_from_config(
    {'name': name, 'num_classes': 4, 'detector': {'preset': 'torchvision'}})


def convert(*arguments):
  return cli.main(['convert', *map(str, arguments)])


def assert_same(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize(('file', 'dialect'), [
  ('w.safetensors', ''), ('w.npz', 'torchvision_v1'), ('w.pth', 'torchvision'),
])
def test_a_training_as_a_file(workdir, tmp_path, capsys, file, dialect):
  source, variables = workdir
  flags = [f'--dialect={dialect}'] if dialect else []
  assert convert(source, tmp_path / 'new' / file, *flags) == 0
  line = capsys.readouterr().out
  assert f'under the names of {dialect or "torchvision"}, read back and equal to the bit' in line
  state = read_state_dict(str(tmp_path / 'new' / file))
  model = create_from_config(configured().model)
  expected = to_torch(model, variables, dialect or 'torchvision')
  assert state.keys() == expected.keys()
  assert all(state[key].tobytes() == expected[key].tobytes() for key in expected)


def test_the_rules_decide_the_dialect(tmp_path, capsys):
  save(tmp_path / 'run', **{'model.detector.preset': 'mmdet1'})
  assert convert(tmp_path / 'run', tmp_path / 'w.pth') == 0
  assert 'under the names of mmdet1' in capsys.readouterr().out
  state = torch.load(tmp_path / 'w.pth', weights_only=True)
  assert type(state).__name__ == 'OrderedDict'  # mmcv takes no other mapping
  assert 'bbox_head.fc_cls.weight' in state and 'mask_head.upsample.bias' in state
  assert convert(tmp_path / 'run', tmp_path / 'w2.pth', '--dialect=torchvision') == 2
  error = capsys.readouterr().err
  assert "those of preset 'torchvision', this detector has 'mmdet1'" in error
  assert not (tmp_path / 'w2.pth').exists()


@pytest.mark.parametrize(('dialect', 'classes', 'names'), [
  ('torchvision', 90, ('person', 'toothbrush')), ('torchvision_v1', 4, ('0', '3')),
  ('mmdet1', 80, ('person', 'toothbrush')),
])
def test_a_file_as_weights(small_record, tmp_path, capsys, dialect, classes, names):
  name, model = small_record
  model = model.clone(num_classes=classes)
  if dialect == 'mmdet1':
    model = model.clone(preset=RECORDS[name].presets['mmdet1'])
  variables, file = random_variables(model), tmp_path / 'w.safetensors'
  write_state_dict(str(file), to_torch(model, variables, dialect))
  assert convert(file, tmp_path / 'ours', f'--model={name}', '--bn_eps=0') == 0
  rules = 'mmdet1' if dialect == 'mmdet1' else 'torchvision'
  line = capsys.readouterr().out
  said = f'{classes} classes, names of {dialect}, rules of {rules}; images of 800 to 1333 pixels'
  assert said in line
  config, found = load_weights(tmp_path / 'ours')
  assert_same(found, variables)
  assert config['model']['bn_eps'] == 0 and config['data']['mean'] == [0.485, 0.456, 0.406]
  assert is_detector_training(tmp_path / 'ours') and not is_detector_training(tmp_path)
  detector = load_detector(tmp_path / 'ours')
  assert detector.model.num_classes == classes and detector.model.preset.name == rules
  assert detector.label_names[:: classes - 1] == names
  assert detector.model.backbone.make_layers().preset.bn_eps == 0
  assert convert(tmp_path / 'ours', tmp_path / 'back.safetensors', f'--dialect={dialect}') == 0
  assert (tmp_path / 'back.safetensors').read_bytes() == file.read_bytes()


@pytest.mark.parametrize(('arguments', 'message'), [
  (('WORKDIR', 'out'), 'out: a detector becomes one file; give a TARGET that ends in .safetensors'),
  (('WORKDIR', 'out.npz', '--dialect=timm'), "unknown dialect 'timm'. Known: mmdet1, mmdet2"),
  (('WORKDIR', 'out.npz', '--dialect=mmdet2'), "'mmdet2' is for import only"),
  (('WORKDIR', 'out.npz', '--num_classes=3'), '--num_classes=3 is for classification networks'),
  (('WORKDIR', 'out.npz', '--bn_eps=0'), '--bn_eps=0.0: the checkpoint has its own'),
  (('w.npz', 'out', '--model=NAME', '--dialect=mmdet1'), "like the dialect 'torchvision', not 'mm"),
  (('w.npz', 'out', '--model=NAME', '--dialect=mmdt'), "Did you mean 'mmdet2'?"),
  (('w.npz', 'out', '--model=NAME', '--widen'), '--widen=True is for classification networks'),
  (('w.npz', 'out', '--model=NAME', '--bn_eps=-1'), '--bn_eps=-1.0 must be at least 0.'),
  (('w.npz', 'out', '--model=resnet18', '--bn_eps=0'), '--bn_eps=0.0 is for detectors'),
  (('cut.npz', 'out', '--model=NAME'), '1 missing (roi_heads.box_head.fc7.bias)'),
  (('nan.npz', 'out', '--model=NAME'), '1 of 115 arrays hold NaN or infinity'),
  (('resnet.npz', 'out', '--model=NAME'), 'has not the names of a detector (torchvision, torchvi'),
  (('resnet.npz', 'out', '--model=NAME', '--dialect=torchvision'), '--config.init.weights='),
])
def test_mistakes_are_one_line_and_write_nothing(
  arguments, message, workdir, small_record, tmp_path, monkeypatch, capsys
):
  name, model = small_record
  monkeypatch.chdir(tmp_path)
  state = to_torch(model, random_variables(model), 'torchvision')
  prefix, key = 'backbone.body.', 'roi_heads.box_head.fc7.bias'
  for file, content in (
    ('w', state), ('cut', {each: value for each, value in state.items() if each != key}),
    ('nan', {**state, key: np.full_like(state[key], np.nan)}),
    ('resnet', {each.removeprefix(prefix): value for each, value in state.items()
                if each.startswith(prefix)}),
  ):
    np.savez(f'{file}.npz', **content)
  before = sorted(tmp_path.iterdir())
  given = [text.replace('WORKDIR', str(workdir[0])).replace('NAME', name) for text in arguments]
  assert convert(*given) == 2
  error = capsys.readouterr().err
  assert message in error and len(error.splitlines()) == 1
  assert sorted(tmp_path.iterdir()) == before


def test_torchvision_takes_the_file(tmp_path):
  """Strictly: no tensor is missing, unexpected or of another shape."""
  save(tmp_path / 'run', **{
    'model.backbone': 'resnet50', 'model.planes': 64, 'model.attention.kind': 'none',
    'model.num_classes': detector_twins.CLASSES, 'model.detector.channels': 256,
    'model.detector.hidden': detector_twins.HIDDEN, 'model.detector.mask_convs': 4,
    'model.detector.anchor_scales': (8.0,)})
  assert convert(tmp_path / 'run', tmp_path / 'w.pth') == 0
  twin = detector_twins.their_mask_rcnn()
  state = torch.load(tmp_path / 'w.pth', weights_only=True)
  missing = twin.load_state_dict(state, strict=False).missing_keys
  assert [key for key in missing if not key.startswith('backbone.body.fc')] == []
  assert twin.load_state_dict(twin.state_dict() | state, strict=True).unexpected_keys == []

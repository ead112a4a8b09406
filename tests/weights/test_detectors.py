"""Detectors' weights: names of torchvision and mmdetection, backbones of trained networks."""

import dataclasses

import jax
import numpy as np
import pytest
import torch

from ecanet_jax import create_model
from ecanet_jax.detection.presets import RETINANET_TORCHVISION
from ecanet_jax.detection.registry import create_detector
from ecanet_jax.nn.parameter_shapes import variable_shapes
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import from_torch, to_torch
from ecanet_jax.weights.convert import entries
from ecanet_jax.weights.detectors.backbone import with_backbone
from ecanet_jax.weights.detectors.detector_files import read_detector, write_detector
from ecanet_jax.weights.loaded_weights import LoadedWeights
from ecanet_jax.weights.torchvision_shim import import_torchvision
from tests.support.random_variables import random_variables

import_torchvision()

from torchvision.models import detection  # noqa: E402

SMALL = {'num_classes': 3, 'channels': 8, 'hidden': 6}


def small(name='mask_rcnn_r50_fpn', preset=None, **backbone):
  fields = {'depths': (1, 1, 1, 1), 'planes': 4, 'stem_width': 4, **backbone}
  sizes = {key: value for key, value in SMALL.items() if key != 'hidden' or 'rcnn' in name}
  return create_detector(name, backbone=fields, preset=preset, **sizes)


def check_same(a, b):
  """Asserts equal names in the same order, and equal bytes."""
  assert list(a) == list(b)
  for key in a:
    assert a[key].dtype == b[key].dtype and a[key].tobytes() == b[key].tobytes(), key


@pytest.mark.parametrize(('name', 'theirs', 'fields'), [
  ('faster_rcnn_r50_fpn', 'fasterrcnn_resnet50_fpn', {'num_classes': 90}),
  ('mask_rcnn_r50_fpn', 'maskrcnn_resnet50_fpn', {'num_classes': 90}),
  ('retinanet_r50_fpn', 'retinanet_resnet50_fpn', {'num_classes': 91}),
])
def test_names_and_shapes_of_torchvision(name, theirs, fields):
  with torch.device('meta'):
    twin = getattr(detection, theirs)(weights=None, weights_backbone=None)
  expected = {key: tuple(value.shape) for key, value in twin.state_dict().items()
              if not key.endswith('num_batches_tracked')}
  found, _ = entries(create_detector(name, preset='torchvision', **fields), 'torchvision')
  assert [(entry.key, entry.their_shape) for entry in found] == list(expected.items())


@pytest.mark.parametrize('dialect', ['torchvision', 'torchvision_v1', 'mmdet1'])
def test_there_and_back_to_the_bit(dialect):
  model = small(preset='mmdet1' if dialect == 'mmdet1' else 'torchvision')
  state = to_torch(model, random_variables(model), dialect)
  check_same(to_torch(model, from_torch(model, state, dialect), dialect), state)
  assert any(key.endswith('num_batches_tracked') for key in state) == (dialect == 'mmdet1')


def test_released_names_of_torchvision():
  keys = to_torch(*_small_variables('torchvision'), 'torchvision_v1')
  for key in ('backbone.fpn.inner_blocks.0.weight', 'rpn.head.conv.weight',
              'roi_heads.mask_head.mask_fcn1.bias', 'roi_heads.mask_head.mask_fcn4.weight'):
    assert key in keys


def _small_variables(preset):
  model = small(preset=preset)
  return model, random_variables(model)


def test_layers_that_are_stored_in_another_order():
  model, variables = _small_variables('torchvision')
  state = to_torch(model, variables, 'torchvision')
  random = np.random.default_rng(0)
  x = random.normal(size=(2, 7, 7, 8)).astype(np.float32)
  fc = variables['params']['box_head']['fc_1']
  theirs = torch.nn.functional.linear(
    torch.from_numpy(x.transpose(0, 3, 1, 2).reshape(2, -1)),
    *(torch.from_numpy(state[f'roi_heads.box_head.fc6.{name}']) for name in ('weight', 'bias')))
  np.testing.assert_allclose(x.reshape(2, -1) @ fc['kernel'] + fc['bias'], theirs, atol=1e-5)
  assert state['roi_heads.mask_predictor.conv5_mask.weight'].shape == (8, 8, 2, 2)


@pytest.mark.parametrize('kind', ['eca', 'se'])
def test_names_of_mmdetection_1(kind):
  model = small(f'{kind}_mask_rcnn_r50_fpn')
  keys = to_torch(model, random_variables(model), 'mmdet1')
  attention = {'eca': 'eca.conv', 'se': 'se.fc.0'}[kind]
  for key in ('backbone.conv1.weight', f'backbone.layer1.0.{attention}.weight',
              'neck.lateral_convs.0.conv.bias', 'neck.fpn_convs.3.conv.weight',
              'rpn_head.rpn_conv.weight', 'rpn_head.rpn_reg.bias', 'bbox_head.shared_fcs.1.weight',
              'bbox_head.fc_cls.bias', 'bbox_head.fc_reg.weight', 'mask_head.convs.3.conv.bias',
              'mask_head.upsample.weight', 'mask_head.conv_logits.bias'):
    assert key in keys
  assert keys['bbox_head.fc_reg.bias'].shape == (16,)


def test_background_of_mmdetection_2_is_last():
  """Weights and biases alike; there are no boxes and no masks of the background."""
  model = small()
  one = to_torch(model, random_variables(model), 'mmdet1')
  two = {
    (f'roi_head.{key}' if key.startswith(('bbox_head', 'mask_head')) else key): value
    for key, value in one.items()}
  for name in ('weight', 'bias'):
    cls, reg, mask = (f'roi_head.{layer}.{name}' for layer in (
      'bbox_head.fc_cls', 'bbox_head.fc_reg', 'mask_head.conv_logits'))
    two[cls] = np.concatenate([two[cls][1:], two[cls][:1]])
    two[reg], two[mask] = two[reg][4:], two[mask][1:]
  ours = to_torch(model, from_torch(model, two, 'mmdet2'), 'mmdet1')
  for key, value in one.items():
    rows = {'bbox_head.fc_reg': 4, 'mask_head.conv_logits': 1}.get(key.rpartition('.')[0], 0)
    np.testing.assert_array_equal(ours[key][rows:] if rows else ours[key],
                                  value[rows:] if rows else value)
  with pytest.raises(UserError, match=r"'mmdet2' is for import only.* mmdet1, torchvision"):
    to_torch(model, random_variables(model), 'mmdet2')


def test_files(tmp_path):
  model, variables = _small_variables('torchvision')
  write_detector(tmp_path / 'detector.safetensors', model, variables)
  again = read_detector(tmp_path / 'detector.safetensors', model, 'torchvision')
  jax.tree.map(np.testing.assert_array_equal, again, variables)
  other = create_detector(
    'mask_rcnn_r50_fpn', preset='torchvision', backbone={
      'depths': (1, 1, 1, 1), 'planes': 4, 'stem_width': 4}, **{**SMALL, 'num_classes': 2})
  for call, message in (
    (lambda: read_detector(tmp_path / 'detector.safetensors', other, 'torchvision'),
     'It has 3 classes, the detector 2; make the detector with num_classes=3'),
    (lambda: read_detector(tmp_path / 'detector.safetensors', small(), 'torchvision'),
     "those of preset 'torchvision', this detector has 'mmdet1'; choose preset='torchvision'"),
    (lambda: read_detector(tmp_path / 'detector.safetensors', small(), 'mmdet1'),
     "Its keys look like the dialect 'torchvision', not 'mmdet1'"),
  ):
    with pytest.raises(UserError, match=message) as error:
      call()
    assert '\n' not in str(error.value)


def test_retinanet_of_other_rules_or_classes():
  make = lambda classes=3, **fields: create_detector(
    'retinanet_r50_fpn', num_classes=classes, channels=8,
    backbone={'depths': (1, 1, 1, 1), 'planes': 4, 'stem_width': 4}, **fields)
  model = make(preset='torchvision')
  state = to_torch(model, random_variables(model), 'torchvision')
  for model, message in (
    (make(2, preset='torchvision'),
     'It has 3 classes, the detector 2; make the detector with num_classes=3'),
    (make(preset='mmdet1'), "choose preset='torchvision'"),
    (make(preset=dataclasses.replace(RETINANET_TORCHVISION, relu_before_p7=False)),
     'reads P6 through a ReLU; choose relu_before_p7=True'),
  ):
    with pytest.raises(UserError, match=message):
      from_torch(model, state, 'torchvision')


def _loaded(name, **fields):
  section = {'name': name, 'num_classes': 4, **fields}
  model = create_model(**section)
  return LoadedWeights(section, {}, '', random_variables(model, 5), {}, 'timm')


@pytest.mark.parametrize(('name', 'backbone'), [
  ('eca_efficientnet_b0', 'eca_efficientnet_b0'),
  ('eca_resnet18_k3577', {'name': 'resnet18', 'attention': {'kind': 'eca', 'k': (3, 5, 7, 7)}}),
])
def test_backbone_of_a_classification_network(name, backbone):
  weights = _loaded(name)
  model = create_detector('faster_rcnn_r50_fpn', backbone=backbone, **SMALL)
  variables = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), variable_shapes(model))
  changed = with_backbone(model, variables, weights)
  assert jax.tree.structure(changed) == jax.tree.structure(variables)
  for collection, tree in changed.items():
    for module, arrays in tree['backbone'].items():
      jax.tree.map(np.testing.assert_array_equal, arrays, weights.variables[collection][module])
  assert not any(np.any(x) for x in jax.tree.leaves(changed['params']['fpn']))


@pytest.mark.parametrize(('weights', 'message'), [
  ('tiny_efficientnet', r"of another family \(ResNet\); create .* with backbone='tiny_eff"),
  ('eca_resnet18', "the weights have attention=.*; give the backbone the fields of the wei"),
])
def test_backbone_of_another_network(weights, message):
  model = create_detector('faster_rcnn_r50_fpn', backbone='resnet18', **SMALL)
  with pytest.raises(UserError, match=message) as error:
    with_backbone(model, {}, _loaded(weights))
  assert '\n' not in str(error.value)

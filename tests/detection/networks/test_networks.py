"""Detectors by name: shapes by tracing, what is frozen, and mistakes in one line."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from ecanet_jax import cli
from ecanet_jax.detection.count import count_detector
from ecanet_jax.detection.networks.ground_truth import GroundTruth
from ecanet_jax.detection.presets import MMDET1, TORCHVISION
from ecanet_jax.detection.registry import create_detector, list_detectors
from ecanet_jax.nn.parameter_shapes import parameter_shapes, variable_shapes
from ecanet_jax.runtime.errors import UserError
from tests.support import golden

BACKBONES = {
  'eca_efficientnet_b0': (24, 40, 112, 320), 'mobilenetv2_100': (24, 32, 96, 320),
  'eca_resnet18': (64, 128, 256, 512), 'vgg16_bn': (128, 256, 512, 512),
}


def test_names():
  assert len(list_detectors()) == 18
  assert list_detectors('eca_*_r50_fpn') == [
    'eca_faster_rcnn_r50_fpn', 'eca_mask_rcnn_r50_fpn', 'eca_retinanet_r50_fpn']
  model = create_detector('eca_mask_rcnn_r50_fpn')
  shapes = parameter_shapes(model)
  assert shapes['params/backbone/blocks_0_0/attention/kernel'] == (3,)
  assert shapes['params/backbone/blocks_3_2/attention/kernel'] == (7,)
  tops = {path.split('/')[1] for path in shapes}
  assert tops == {'backbone', 'fpn', 'rpn', 'box_head', 'mask_head'}
  assert not any('classifier' in path for path in shapes)


@pytest.mark.parametrize('backbone', BACKBONES)
def test_any_network_with_stages_is_a_backbone(backbone):
  model = create_detector('faster_rcnn_r50_fpn', backbone=backbone, num_classes=3)
  assert (model.backbone.frozen_stages, model.backbone.frozen_bn) == (1, True)
  shapes = parameter_shapes(model)
  for level, channels in zip(range(2, 6), BACKBONES[backbone], strict=True):
    assert shapes[f'params/fpn/lateral_{level}/kernel'] == (channels, 256)
  assert not any(name in path for path in shapes for name in ('/head', 'classifier'))


def test_what_comes_out():
  """128 x 96 pixels: 3 * (32 * 24 + 16 * 12 + 8 * 6 + 4 * 3 + 2 * 2) anchors."""
  preset = dataclasses.replace(TORCHVISION, detections=7, rpn_samples=64, roi_samples=32)
  model = create_detector(
    'mask_rcnn_r50_fpn', backbone={'name': 'eca_resnet18', 'frozen_bn': False}, num_classes=5,
    preset=preset)
  variables = variable_shapes(model)
  images = jax.ShapeDtypeStruct((2, 128, 96, 3), jnp.float32)
  levels, rpn, (found, masks) = jax.eval_shape(
    lambda v, x: model.apply(
      v, x, method=lambda m, x: (m.pyramid(x, False), m.rpn(m.pyramid(x, False)), m(x))),
    variables, images)
  assert [x.shape[1:3] for x in levels] == [(32, 24), (16, 12), (8, 6), (4, 3), (2, 2)]
  assert [x.shape for x in rpn] == [(2, 3072), (2, 3072, 4)]
  assert found.boxes.shape == (2, 7, 4) and masks.shape == (2, 7, 28, 28)
  truth = GroundTruth(jnp.zeros((2, 4, 4)), jnp.ones((2, 4), int), jnp.zeros((2, 4), bool),
                      jnp.zeros((2, 4, 56, 56), jnp.uint8), jnp.zeros((2, 4, 4)))
  losses, changed = jax.eval_shape(
    lambda v, x: model.apply(v, x, None, truth, jax.random.split(jax.random.key(0), 2),
                             method=model.losses, mutable=['batch_stats']), variables, images)
  assert {name: x.shape for name, x in losses.items()} == dict.fromkeys(
    ('objectness', 'rpn_box', 'classification', 'box', 'mask'), ())
  assert set(changed) == {'batch_stats'}


def test_what_comes_out_of_retinanet():
  """128 x 128 pixels: 9 * (16^2 + 8^2 + 4^2 + 2^2 + 1) anchors."""
  model = create_detector('retinanet_r50_fpn', backbone='eca_resnet18', num_classes=5)
  variables, images = variable_shapes(model), jax.ShapeDtypeStruct((2, 128, 128, 3), jnp.float32)
  (logits, deltas), (found, masks) = jax.eval_shape(
    lambda v, x: model.apply(v, x, method=lambda m, x: (m.heads(m.pyramid(x, False)), m(x))),
    variables, images)
  assert logits.shape == (2, 3069, 5) and deltas.shape == (2, 3069, 4)
  assert found.boxes.shape == (2, 100, 4) and masks is None
  truth = GroundTruth(jnp.zeros((2, 4, 4)), jnp.zeros((2, 4), int), jnp.zeros((2, 4), bool))
  losses = jax.eval_shape(
    lambda v, x: model.apply(v, x, None, truth, jax.random.split(jax.random.key(0), 2),
                             method=model.losses), variables, images)
  assert {name: x.shape for name, x in losses.items()} == {'classification': (), 'box': ()}


def test_what_is_frozen():
  model = create_detector('eca_faster_rcnn_r50_fpn')
  for path, frozen in {
    'backbone/stem/kernel': True, 'backbone/blocks_0_1/attention/kernel': True,
    'backbone/blocks_1_0/conv_1/kernel': False, 'backbone/blocks_1_0/conv_1_bn/scale': False,
    'rpn/conv/bias': False,
  }.items():
    assert model.is_frozen(path.split('/')) == frozen, path
  stages = ('backbone/stem/kernel', 'backbone/blocks_3_0/conv_1/kernel', 'fpn/output_2/bias')
  assert [model.stages_behind(path.split('/')) for path in stages] == [5, 1, 0]
  model = create_detector('eca_faster_rcnn_r50_fpn', preset='torchvision')
  assert model.is_frozen(['backbone', 'blocks_1_0', 'conv_1_bn', 'scale'])


# torchvision 0.28, the meta data of the weights: FrozenBatchNorm, 91 classes with the background.
@pytest.mark.parametrize(('name', 'parameters'), [
  ('faster_rcnn_r50_fpn', 41_755_286), ('mask_rcnn_r50_fpn', 44_401_393)])
def test_parameters_of_torchvision(name, parameters):
  model = create_detector(
    name, num_classes=90, preset='torchvision', backbone={'frozen_stages': 0})
  assert sum(count_detector(model).trained.values()) == parameters


@pytest.mark.parametrize(('call', 'message'), [
  (lambda: create_detector('faster_rcnn'), "unknown detector 'faster_rcnn'. Did you mean 'faster"),
  (lambda: create_detector('mask_rcnn_r50_fpn', hiden=3), "'hiden'. Did you mean 'hidden'"),
  (lambda: create_detector('mask_rcnn_r50_fpn', num_classes=0), 'num_classes=0 must be at least 1'),
  (lambda: create_detector('mask_rcnn_r50_fpn', preset='mmdet'), "Did you mean 'mmdet1'"),
  (lambda: create_detector('mask_rcnn_r50_fpn', backbone='bn_inception'),
   'BNInception has no stage of stride 4, which this detector needs; choose another backbone'),
  (lambda: parameter_shapes(create_detector('faster_rcnn_r50_fpn'), 72),
   'images of 72 x 72 pixels: both sides must be multiples of 32'),
])
def test_mistakes(call, message):
  with pytest.raises(UserError, match=message) as error:
    call()
  assert '\n' not in str(error.value)


def test_a_preset_by_name_keeps_the_registered_anchors():
  model = create_detector('retinanet_r50_fpn', preset='torchvision')
  assert model.preset.strides == (8, 16, 32, 64, 128) and model.preset.pixel == 0
  assert (model.preset.rpn_match.positive, model.preset.detections) == (0.5, 300)
  coarse = {
    preset: parameter_shapes(create_detector('retinanet_r50_fpn', preset=preset))[
      'params/fpn/output_6/kernel'] for preset in ('torchvision', 'mmdet1')}
  assert coarse == {'torchvision': (3, 3, 256, 256), 'mmdet1': (3, 3, 2048, 256)}
  assert create_detector('faster_rcnn_r50_fpn').preset is MMDET1


# Number of arrays, and a digest of their names and shapes (tests.support.golden).
@pytest.mark.parametrize(('name', 'expected'), [
  ('eca_mask_rcnn_r50_fpn', '323 arrays, 073f03f9c571f179'),
  ('se_faster_rcnn_r101_fpn', '616 arrays, 26b011d0de093883'),
  ('retinanet_r50_fpn', '301 arrays, e1bb12307f2afd1b'),
])
def test_parameter_names_are_an_interface(name, expected):
  assert golden.fingerprint(parameter_shapes(create_detector(name))) == expected


def test_table(capsys):
  assert cli.main(['models', '*mask_rcnn_r50_fpn', '--table']) == 0
  lines = capsys.readouterr().out.splitlines()
  assert lines[0].startswith('detector ') and len(lines) == 5
  assert lines[1].split()[:8] == [
    'eca_mask_rcnn_r50_fpn', '44.18', '44.1754', 'ok', '275.69', '275.6886', 'ok', '39.0']
  assert lines[-1] == '6 of 6 published figures met to the printed digits'
  assert cli.main(['models', 'retinanet_r50*']) == 0
  assert capsys.readouterr().out.split()[:2] == ['retinanet_r50_fpn', '-']
  assert cli.main(['models', 'retinanet_r50*', '--png=x.png']) == 2
  assert 'names detectors only' in capsys.readouterr().err

"""The detectors' recipes against mmdetection 1.0rc0 and the paper, value by value."""

import math

import jax
import numpy as np
import pytest
from flax import traverse_util

from configs import digit_scenes, faster_rcnn, mask_rcnn
from ecanet_jax.config import schema
from ecanet_jax.data.detection.open import settings_of
from ecanet_jax.data.detection.settings import Settings
from ecanet_jax.detection.from_config import create_from_config
from ecanet_jax.detection.presets import MMDET1
from ecanet_jax.detection.registry import create_detector
from ecanet_jax.nn.parameter_shapes import parameter_shapes
from ecanet_jax.training.optimizer import decayed
from ecanet_jax.training.schedule import make_schedule, peak_learning_rate, training_steps

PER_EPOCH = faster_rcnn.IMAGES / 8
# Learning rate by step: mmdetection's linear warm-up of 500 steps from a third, tenths after
# epochs 8 and 11.
RATES = {
  0: 0.01 / 3, 250: 0.01 * (1 + 1 / 3) / 2, 500: 0.01, 100_000: 0.01, 117_265: 0.01,
  117_267: 0.001, 161_239: 0.001, 161_242: 0.0001, 175_898: 0.0001,
}


@pytest.mark.parametrize(('recipe', 'name'), [
  (faster_rcnn, 'eca_faster_rcnn_r50_fpn'), (mask_rcnn, 'eca_mask_rcnn_r50_fpn'),
])
def test_the_papers_training(recipe, name):
  config = recipe.get_config()
  schema.check(config)
  section = config.optimizer
  assert (config.model.name, config.batch_size, config.epochs) == (name, 8, 12.0)
  assert training_steps(config, PER_EPOCH) == 175_899
  assert (section.name, section.momentum, section.weight_decay) == ('sgd', 0.9, 1e-4)
  assert (section.nesterov, section.decoupled, section.clip_norm) == (False, False, 35.0)
  schedule = make_schedule(config, PER_EPOCH, 175_899)
  rates = [float(schedule(np.int32(step))) for step in RATES]
  np.testing.assert_allclose(rates, list(RATES.values()), rtol=1e-3)
  assert not config.ema.decay
  data = config.data
  np.testing.assert_allclose(255 * np.array(data.mean), [123.675, 116.28, 103.53])
  np.testing.assert_allclose(255 * np.array(data.std), [58.395, 57.12, 57.375])
  masks = 'crops' if 'mask' in name else 'none'
  assert settings_of(config, with_masks='mask' in name) == Settings(
    shorter=800, longer=1333, buckets=((800, 1344), (1344, 800)), flip=True, masks=masks,
    empty='drop', min_side=32, scale=(1.0, 1.0),
  )


@pytest.mark.parametrize('recipe', [faster_rcnn, mask_rcnn])
def test_the_papers_network(recipe):
  """It is the registered one, with the paper's number of trained parameters; all of them decay."""
  config = recipe.get_config()
  model, registered = create_from_config(config.model), create_detector(config.model.name)
  assert model.preset == registered.preset == MMDET1
  assert (model.backbone.frozen_stages, model.backbone.frozen_bn) == (1, True)
  assert model.backbone.attention == registered.backbone.attention
  shapes = {tuple(path.split('/'))[1:]: shape for path, shape in parameter_shapes(model).items()
            if path.startswith('params/')}
  trained = sum(math.prod(shape) for path, shape in shapes.items() if not model.is_frozen(path))
  assert trained == {'faster': 41_531_877, 'mask': 44_175_424}[config.model.name.split('_')[1]]
  flags = decayed(
    traverse_util.unflatten_dict(dict.fromkeys(shapes, 0)), biases=config.optimizer.decay_biases,
    batch_norm=config.optimizer.decay_batch_norm)
  assert all(jax.tree.leaves(flags))


def test_digit_scenes():
  config = digit_scenes.get_config()
  schema.check(config)
  model = create_from_config(config.model)
  assert peak_learning_rate(config) == pytest.approx(2e-3)
  assert (model.channels, model.hidden, model.mask_convs, model.num_classes) == (64, 256, 1, 10)
  assert model.backbone.attention.kind == 'eca' and not model.backbone.frozen_bn
  preset = model.preset
  assert (preset.name, preset.proposals, preset.roi_samples) == ('torchvision', (500, 300), 48)


@pytest.mark.parametrize(('changes', 'family'), [
  ({'model.name': 'faster_rcnn_r50_fpn'}, 'FasterRCNN'),
  ({'model.name': 'retinanet_r50_fpn'}, 'RetinaNet'),
  ({'model.backbone': 'eca_efficientnet_b0', 'model.planes': None}, 'EfficientNet'),
])
def test_other_networks_by_a_key(changes, family):
  config = digit_scenes.get_config()
  config.update_from_flattened_dict(changes)
  model = create_from_config(config.model)
  assert family in (type(model).__name__, type(model.backbone).__name__)

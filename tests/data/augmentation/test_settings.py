"""What is said to mistakes in config.augment, config.mix and data.crop."""

import pytest

from configs import smoke
from ecanet_jax import data
from ecanet_jax.config import schema
from ecanet_jax.data.augmentation import settings
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.training.trainer import Trainer

BAD = [
  ({'augment.policy': 'randaugmen'}, "unknown policy (augment.policy) 'randaugmen'. Did you mean "
   "'randaugment'? Known: autoaugment, autoaugment_cifar, none, randaugment, randaugment_tf, triv"),
  ({'augment.policy': 'randaugment', 'augment.magnitude': 11.0},
   "with augment.policy='randaugment', augment.magnitude=11 must be from 0 to 10."),
  ({'augment.policy': 'randaugment_tf', 'augment.magnitude': 31.0}, '=31 must be from 0 to 30.'),
  ({'augment.policy': 'randaugment', 'augment.magnitude': -1.0}, '=-1 must be from 0 to 10.'),
  ({'augment.policy': 'trivialaugment', 'augment.magnitude_std': 0.5},
   "augment.magnitude_std=0.5 belongs to augment.policy='randaugment' alone"),
  ({'augment.magnitude_std': -0.5}, 'augment.magnitude_std=-0.5 must be at least 0.'),
  ({'augment.layers': 0}, 'augment.layers=0 must be from 1 to 16.'),
  ({'augment.probability': 1.5}, 'augment.probability=1.5 must be from 0 to 1.'),
  ({'augment.interpolation': 'bilinea'}, "unknown augment.interpolation 'bilinea'. Did you mean "),
  ({'augment.fill': (1, 2)}, 'augment.fill=(1, 2) must have 3 numbers.'),
  ({'augment.fill': (1, 2, 256)}, 'augment.fill=256 must be from 0 to 255.'),
  ({'augment.color_jitter': (0.4, 0.4, 0.4)}, 'augment.color_jitter=(0.4, 0.4, 0.4) must have 4'),
  ({'augment.color_jitter': (-0.4, 0.0, 0.0, 0.0)}, 'augment.color_jitter=-0.4 must be at least 0'),
  ({'augment.color_jitter': (0.4, 0.4, 0.4, 0.6)}, 'its last number,=0.6 must be from 0 to 0.5.'),
  ({'augment.lighting': -0.1}, 'augment.lighting=-0.1 must be at least 0.'),
  ({'augment.rotation': 190.0}, 'augment.rotation=190 must be from 0 to 180.'),
  ({'augment.erasing': 1.1}, 'augment.erasing=1.1 must be from 0 to 1.'),
  ({'augment.erasing_mode': 'pixels'}, "unknown augment.erasing_mode 'pixels'. Did you mean 'pix"),
  ({'augment.erasing_area': (0.5, 0.2)}, 'augment.erasing_area=(0.5, 0.2) must be (smallest, lar'),
  ({'augment.erasing_aspect': (0.0, 2.0)}, 'augment.erasing_aspect=(0.0, 2.0) must be (smallest'),
  ({'mix.mixup_alpha': -0.2}, 'mix.mixup_alpha=-0.2 must be at least 0.'),
  ({'mix.cutmix_alpha': -1.0}, 'mix.cutmix_alpha=-1 must be at least 0.'),
  ({'mix.prob': 2.0}, 'mix.prob=2 must be from 0 to 1.'),
  ({'mix.switch_prob': -0.5}, 'mix.switch_prob=-0.5 must be from 0 to 1.'),
  ({'mix.mixup_alpha': 0.2, 'model.num_classes': 1},
   'mix.mixup_alpha=0.2 mixes images of different classes; there is only 1.'),
  ({'data.source': 'memory', 'augment.policy': 'autoaugment'},
   "augment.policy='autoaugment' needs images that are decoded in every epoch; "
   "data.source='memory' has erasing and mixing only. Set augment.policy='none'."),
  ({'data.source': 'memory', 'augment.color_jitter': (0.4, 0.0, 0.0, 0.0)},
   'Set augment.color_jitter=(0.0, 0.0, 0.0, 0.0).'),
  ({'data.resident': True, 'augment.rotation': 10.0}, 'data.resident=True has erasing and mixing'),
  ({'data.crop': 'shift'},
   "data.crop='shift' is for images that are not decoded in every epoch (data.source='memory', "
   "data.resident=True); data.source='tfds' has inception and center."),
  ({'data.crop': 'shift', 'data.source': 'folder'}, "data.source='folder' has inception and cent"),
]


@pytest.mark.parametrize(('keys', 'text'), BAD, ids=[' '.join(map(str, k.items())) for k, _ in BAD])
def test_mistakes(keys, text):
  config = schema.get_config()
  config.update_from_flattened_dict(keys)
  with pytest.raises(UserError) as error:
    settings.check(config)
  assert text in str(error.value) and '\n' not in str(error.value)


def test_the_trainer_says_it_first(tmp_path):
  config = smoke.get_config()
  config.augment.policy = 'trivialaugment'
  with pytest.raises(UserError, match=r"data\.source='memory' has erasing and mixing only"):
    Trainer(config, tmp_path)
  with pytest.raises(UserError, match=r"data\.source='memory' has erasing and mixing only"):
    data.open(config).resident()


def test_everything_that_is_allowed():
  config = schema.get_config()
  config.augment.update(
    policy='randaugment', magnitude_std=float('inf'), color_jitter=(0.4, 0.4, 0.4, 0.5),
    lighting=0.1, rotation=10.0, erasing=0.25, fill=(0, 0, 0), interpolation='nearest',
  )
  config.mix.update(mixup_alpha=0.2, cutmix_alpha=1.0)
  settings.check(config)
  assert settings.used_on_host(config.augment) and settings.layers(config.augment) == 2


@pytest.mark.parametrize('keys', [{'source': 'memory'}, {'resident': True}])
def test_held_images_can_be_shifted(keys):
  config = schema.get_config()
  config.data.update(crop='shift', **keys)
  settings.check(config)

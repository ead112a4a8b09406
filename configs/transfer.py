"""Fine-tuning of ImageNet's networks on the eight data sets of EfficientNet's Table 5.

  python -m ecanet_jax prepare --dataset=oxford_iiit_pet --data_dir=DATA
  python train.py --config=configs/transfer.py:oxford_iiit_pet --workdir=runs/pets \
    --config.data.data_dir=DATA --config.init.weights=WEIGHTS
  python eval.py --config=configs/transfer.py:oxford_iiit_pet --workdir=runs/pets

WEIGHTS: a training's workdir, a timm folder, or 'hf-hub:timm/tf_efficientnet_b0.in1k'. They give
the network and the preprocessing. TFDS has neither birdsnap nor fgvc_aircraft: put the images into
DATA/train/CLASS/ and DATA/test/CLASS/, of Aircraft the 100 variants, with trainval as train.

EfficientNet (1905.11946, section 5.2) fine-tunes as Kornblith et al. (1805.08974) do: SGD with
Nesterov momentum 0.9, batch 256, 20,000 steps, cosine decay to 0 without warm-up, the decay of
BatchNorm's statistics max(1 - 10 / steps per epoch, 0.9), inception crops and mirroring, and the
centre crop 0.875 at test time. These numbers are not checked against their text. They search
learning rate and weight decay for each data set: 7 rates from 1e-4 to 1e-1, and no decay or 7
ratios of decay to rate from 1e-6 to 1e-3. The rate 1e-2 and the decay 1e-5 here are only a start
for such a search. For Flowers, Pets and Aircraft they report the mean accuracy of the classes,
`mean_per_class` of eval.py.

Published top-1: B0 98.1 % on CIFAR-10 and 88.1 % on CIFAR-100; B5 82.0 % on Birdsnap, B3 93.6 % on
Cars, B5 98.5 % on Flowers, B3 90.7 % on Aircraft, B4 94.8 % on Pets, B4 91.5 % on Food-101
(EfficientNet, Table 5, left half). Expected here: not measured.
"""

import ecanet_jax.config
from ecanet_jax.config import lookup

STEPS = 20_000

# Source, training split, evaluation split, classes, training images: TFDS 4.9.10's builders, and
# EfficientNet's Table 6.
SETS = {
  'cifar10': ('tfds', 'train', 'test', 10, 50_000),
  'cifar100': ('tfds', 'train', 'test', 100, 50_000),
  'birdsnap': ('folder', 'train', 'test', 500, 47_386),
  'cars196': ('tfds', 'train', 'test', 196, 8_144),
  'oxford_flowers102': ('tfds', 'train+validation', 'test', 102, 2_040),
  'fgvc_aircraft': ('folder', 'train', 'test', 100, 6_667),
  'oxford_iiit_pet': ('tfds', 'train', 'test', 37, 3_680),
  'food101': ('tfds', 'train', 'validation', 101, 75_750),
}


def get_config(name='cifar10'):
  source, train_split, eval_split, classes, images = lookup(SETS, name, 'data set of transfer.py')
  config = ecanet_jax.config.get_config()
  config.batch_size = 256
  config.epochs = STEPS * config.batch_size / images
  config.model.num_classes = classes
  config.model.bn_decay = max(1 - 10 * config.batch_size / images, 0.9)
  config.data.source = source
  config.data.name = name
  config.data.train_split = train_split
  config.data.eval_split = eval_split
  config.loss.label_smoothing = 0.0
  config.optimizer.name = 'sgd'
  config.optimizer.nesterov = True
  config.optimizer.weight_decay = 1e-5
  config.schedule.name = 'cosine'
  config.schedule.lr = 0.01
  config.schedule.warmup_epochs = 0.0
  config.ema.decay = 0.0
  config.eval_epochs = config.epochs / 10
  config.save_epochs = config.epochs / 20
  return config

"""CIFAR-10 or CIFAR-100 from scratch: cifar.py:resnet18, cifar.py:b0, cifar.py:resnet18_100, ...

  python -m ecanet_jax prepare --dataset=cifar10 --data_dir=data
  python train.py --config=configs/cifar.py:resnet18 --workdir=runs/cifar_resnet18

A network of ImageNet loses too much of a 32-px image in its stem. Here the stem has stride 1 (and
no pooling in the ResNet, as in He et al. 2016, section 4.2). Training of the ResNet as in DeVries
and Taylor, Cutout (1708.04552, section 4.1): SGD with Nesterov momentum, batch 128, 0.1, weight
decay 5e-4, 200 epochs, shifts of up to 4 px, mirroring, and a square of 16 px cut out; but with a
cosine schedule and an average of the weights, and a square that is inside of the image. They
report 96.01 % for ResNet-18 on CIFAR-10. The B0 adds mixup. Expected top-1 here: not measured.

Smaller networks for a CPU: --config.model.planes=16 --config.model.stem_width=16 of the ResNet,
--config.model.width=0.5 --config.model.depth=0.5 of the B0.
"""

import ecanet_jax.config
from ecanet_jax.config import lookup

NETWORKS = {'resnet18': 'eca_resnet18', 'b0': 'eca_efficientnet_b0'}
CLASSES = {'': 10, '100': 100}
WHICH = {
  f'{network}{"_" if end else ""}{end}': (network, classes)
  for network in NETWORKS for end, classes in CLASSES.items()
}


def get_config(which='resnet18'):
  network, classes = lookup(WHICH, which, 'training of cifar.py')
  config = ecanet_jax.config.get_config()
  config.epochs = 200.0
  config.batch_size = 128
  config.model.name = NETWORKS[network]
  config.model.num_classes = classes
  if network == 'resnet18':
    config.model.stem = '3x3'
  else:
    config.model.stem_stride = 1
    config.mix.mixup_alpha = 0.2
  config.data.name = f'cifar{classes}'
  config.data.data_dir = 'data'
  config.data.eval_split = 'test'
  config.data.resident = True
  config.data.image_size = 32
  config.data.crop = 'shift'
  config.data.crop_fraction = 1.0
  config.data.mean = (0.4914, 0.4822, 0.4465)
  config.data.std = (0.247, 0.2435, 0.2616)
  config.augment.erasing = 1.0
  config.augment.erasing_area = (0.25, 0.25)
  config.augment.erasing_aspect = (1.0, 1.0)
  config.loss.label_smoothing = 0.0
  config.optimizer.name = 'sgd'
  config.optimizer.nesterov = True
  config.optimizer.weight_decay = 5e-4
  config.schedule.name = 'cosine'
  config.schedule.lr = 0.2  # 0.1 at batch 128
  config.schedule.warmup_epochs = 5.0
  config.ema.decay = 0.999
  config.eval_epochs = 5.0
  config.save_epochs = 5.0
  return config

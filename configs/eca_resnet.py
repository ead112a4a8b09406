"""ResNet-18 to 152 with ECA, with SE and plain: ECA-Net's training (CVPR 2020, Implementation).

SGD with momentum 0.9, batch 256, 0.1, divided by 10 every 30 of 100 epochs, L2 1e-4 on every
parameter, BatchNorm's too (BangguWu/ECANet, main.py), only random crops and mirroring.
Published top-1 of the released k (its README) for 18, 34, 50, 101, 152: 70.92, 74.21, 77.42, 78.65,
78.92 %; Table 2 for 50, 101, 152: SE 76.71, 77.62, 78.43 %, plain 75.20, 76.83, 77.58 %.
Expected top-1 here: not measured.

  python train.py --config=configs/eca_resnet.py --workdir=runs/eca_resnet50
  python train.py --config=configs/eca_resnet.py --workdir=W --config.model.name=se_resnet50

Names: eca_resnet18_k3577, eca_resnet34_k3357, eca_resnet50_k3557, eca_resnet101_k3357,
eca_resnet152_k3357; eca_resnet50 and so on with k by Eq. 9; se_resnet50, ...; resnet18, ...
"""

import ecanet_jax.config


def get_config():
  config = ecanet_jax.config.get_config()
  config.model.name = 'eca_resnet50_k3557'
  config.epochs = 100.0
  config.batch_size = 256
  config.data.interpolation = 'bilinear'
  config.loss.label_smoothing = 0.0
  config.optimizer.name = 'sgd'
  config.optimizer.weight_decay = 1e-4
  config.optimizer.decay_batch_norm = True
  config.schedule.name = 'step'
  config.schedule.lr = 0.1
  config.schedule.warmup_epochs = 0.0
  config.schedule.decay_rate = 0.1
  config.schedule.milestones = (30.0, 60.0, 90.0)
  config.ema.decay = 0.0
  return config

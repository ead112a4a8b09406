"""MobileNetV2 with ECA, with SE and plain: ECA-Net's training (CVPR 2020, Implementation).

SGD with momentum 0.9, batch 96, 0.045 x 0.98^epoch for 400 epochs, L2 4e-5 on every parameter,
dropout 0.25 (BangguWu/ECANet, light_main.py and eca_mobilenetv2.py).
Published top-1 (Table 2): ECA 72.56, SE 72.42, plain 71.64 %. Expected top-1 here: not measured.

  python train.py --config=configs/eca_mobilenetv2.py --workdir=runs/eca_mobilenetv2
  python train.py --config=configs/eca_mobilenetv2.py --workdir=W --config.model.name=se_mobilenetv2

Names: eca_mobilenetv2_k13 (the released k), eca_mobilenetv2 (Eq. 9), se_mobilenetv2,
mobilenetv2_100.
"""

import ecanet_jax.config


def get_config():
  config = ecanet_jax.config.recipe('eca_resnet')
  config.model.name = 'eca_mobilenetv2_k13'
  config.model.dropout = 0.25
  config.epochs = 400.0
  config.batch_size = 96
  config.optimizer.weight_decay = 4e-5
  config.schedule.name = 'exponential'
  config.schedule.lr = 0.12  # 0.045 at batch 96
  config.schedule.decay_rate = 0.98
  config.schedule.decay_epochs = 1.0
  return config

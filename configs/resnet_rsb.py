"""ResNets by the modern procedures A1, A2, A3: resnet_rsb.py:a1 ... resnet_rsb.py:a3

Wightman, Touvron, Jegou, "ResNet strikes back", 2021, Table 2: LAMB at batch 2048, cosine to 1e-6
after a warm-up of 5 epochs from 1e-4, changed between epochs; binary cross-entropy of targets above
0.2; mixup or cutmix, RandAugment; as in timm the gradient's norm is at most 1, only kernels decay,
and branches begin as zero. The repeated augmentation of A1 and A2 is left out.
Published top-1 of ResNet-50: A1 80.4, A2 79.8, A3 78.1 %. Expected top-1 here: not measured.

  python train.py --config=configs/resnet_rsb.py:a3 --workdir=runs/resnet50_a3
  python train.py --config=configs/resnet_rsb.py:a2 --workdir=W --config.model.name=ecaresnet50t
"""

import ecanet_jax.config
from ecanet_jax.config import lookup

# Epochs, learning rate at batch 2048, weight decay, label smoothing, drop-path, pixels in training,
# mixup's alpha, RandAugment's magnitude.
PROCEDURE = {
  'a1': (600.0, 5e-3, 0.01, 0.1, 0.05, 224, 0.2, 7.0),
  'a2': (300.0, 5e-3, 0.02, 0.0, 0.05, 224, 0.1, 7.0),
  'a3': (100.0, 8e-3, 0.02, 0.0, 0.0, 160, 0.1, 6.0),
}


def get_config(which: str = 'a2'):
  epochs, lr, decay, smoothing, drop_path, pixels, mixup, magnitude = lookup(
    PROCEDURE, which, 'procedure of configs/resnet_rsb.py'
  )
  config = ecanet_jax.config.get_config()
  config.model.name = 'resnet50'
  config.model.drop_path = drop_path
  config.model.zero_init_last = True
  config.epochs = epochs
  config.batch_size = 2048
  config.data.image_size = pixels
  config.data.crop_fraction = 0.95
  config.augment.policy = 'randaugment'
  config.augment.magnitude = magnitude
  config.augment.magnitude_std = 0.5
  config.mix.mixup_alpha = mixup
  config.mix.cutmix_alpha = 1.0
  config.loss.name = 'bce'
  config.loss.label_smoothing = smoothing
  config.loss.target_threshold = 0.2
  config.optimizer.name = 'lamb'
  config.optimizer.weight_decay = decay
  config.optimizer.decay_biases = False
  config.optimizer.clip_norm = 1.0
  config.schedule.name = 'cosine'
  config.schedule.lr = lr * 256 / 2048
  config.schedule.final_fraction = 1e-6 / lr
  config.schedule.warmup_from = 1e-4
  config.schedule.from_warmup = False
  config.schedule.per_epoch = True
  config.ema.decay = 0.0
  config.compute_dtype = 'bfloat16'
  return config

"""EfficientNet-B0 as timm trained it (hfdocs/source/training_script.mdx, EfficientNet-B0).

RMSprop-TF, 0.048 at batch 768, x0.97 every 2.4 of 450 epochs, changed between epochs, warm-up of 5
from 1e-6, weight decay 1e-5 only on kernels, EMA 0.9999 from the start, dropout and drop-path 0.2,
RandAugment rand-m9-mstd0.5, random erasing 0.2 with noise. timm also draws each training image's
interpolation at random (bilinear or bicubic); here it is bicubic.
Published top-1: 77.698 % (results/results-imagenet.csv). Expected top-1 here: not measured.

  python train.py --config=configs/timm_b0.py --workdir=runs/timm_b0
"""

import ecanet_jax.config


def get_config():
  config = ecanet_jax.config.get_config()
  config.model.name = 'efficientnet_b0'
  config.epochs = 450.0
  config.batch_size = 768
  config.augment.policy = 'randaugment'
  config.augment.magnitude_std = 0.5
  config.augment.increasing = False
  config.augment.erasing = 0.2
  config.augment.erasing_mode = 'pixel'
  config.optimizer.decay_biases = False
  config.schedule.warmup_from = 1e-6
  config.schedule.per_epoch = True
  config.ema.warmup = False
  config.compute_dtype = 'bfloat16'
  return config

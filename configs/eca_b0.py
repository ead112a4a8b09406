"""EfficientNet-B0 with ECA in place of SE, trained on ImageNet from scratch.

Network: 4,652,084 parameters (hyugen blog; ECA-Net, CVPR 2020, Eq. 6 and 9). Training: TensorFlow
EfficientNet's (tensorflow/tpu, models/official/efficientnet): RMSProp, 0.016 per 256 images, x0.97
every 2.4 epochs, 5 epochs of warm-up, EMA 0.9999, label smoothing 0.1, without AutoAugment.
Expected top-1: not measured. The blog reports 73.17 % after 52 epochs of its own recipe.

  python -m ecanet_jax prepare --dataset=imagenet2012 --manual_dir=DIRECTORY_OF_THE_TARS
  python train.py --config=configs/eca_b0.py --workdir=runs/eca_b0
"""

import ecanet_jax.config


def get_config():
  config = ecanet_jax.config.get_config()
  config.model.name = 'tf_eca_efficientnet_b0'
  config.model.bn_decay = 0.99
  config.batch_size = 1024
  config.epochs = 350.0
  config.compute_dtype = 'bfloat16'
  return config

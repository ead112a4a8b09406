"""EfficientNet-B0 (Tan and Le, ICML 2019, Table 2) trained on ImageNet from scratch.

TensorFlow EfficientNet's training as in eca_b0.py, with SE. Published top-1 without AutoAugment:
76.7 % (tensorflow/tpu README) at batch 4096. Expected top-1 here: not measured.

  python train.py --config=configs/efficientnet_b0.py --workdir=runs/b0
"""

import ecanet_jax.config


def get_config():
  config = ecanet_jax.config.recipe('eca_b0')
  config.model.name = 'tf_efficientnet_b0'
  return config

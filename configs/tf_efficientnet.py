"""TensorFlow's EfficientNet-B0 to B7 on ImageNet: tf_efficientnet.py:b0 ... tf_efficientnet.py:b7

Tan and Le, ICML 2019, section 5, and tensorflow/tpu, models/official/efficientnet (main.py,
utils.py, efficientnet_builder.py): RMSProp (decay and momentum 0.9, mean square from 1, eps 1e-3 in
the root), 0.016 per 256 images, x0.97 every 2.4 epochs from step 0, 5 epochs of warm-up, L2 1e-5 on
all but BatchNorm, EMA 0.9999 of parameters and statistics, label smoothing 0.1, drop-path 0.2 and
the network's dropout, AutoAugment v0, batch 4096. The defaults in ecanet_jax/config/schema.py are
the same but for AutoAugment and the batch size.
Published top-1 of B0 to B7 (Table 2): 76.3, 78.8, 79.8, 81.1, 82.6, 83.3, 84.0, 84.4 %.
Expected top-1 here: not measured.

  python train.py --config=configs/tf_efficientnet.py:b3 --workdir=runs/b3
  python train.py --config=configs/tf_efficientnet.py:b0 --workdir=runs/b0 --config.batch_size=1024
"""

import ecanet_jax.config
from ecanet_jax.config import lookup

PIXELS = {
  'b0': 224, 'b1': 240, 'b2': 260, 'b3': 300, 'b4': 380, 'b5': 456, 'b6': 528, 'b7': 600,
}


def get_config(which: str = 'b0'):
  config = ecanet_jax.config.get_config()
  config.data.image_size = lookup(PIXELS, which, 'network of configs/tf_efficientnet.py')
  config.data.crop_fraction = config.data.image_size / (config.data.image_size + 32)
  config.model.name = f'tf_efficientnet_{which}'
  config.batch_size = 4096
  config.augment.policy = 'autoaugment'
  config.compute_dtype = 'bfloat16'
  return config

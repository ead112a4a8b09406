"""EfficientNet-B0 with ECA, with SE and without: the hyugen blog's comparison (2020-07-21).

Each sees 66,560,000 images, 52 passes of 1,280,000. The blog does not publish its optimizer and
augmentation ("some tweaks"). Here they are TensorFlow EfficientNet's without AutoAugment, but the
learning rate decays by a cosine to 0, because x0.97 every 2.4 epochs ends too high after 52.
The blog's top-1: none 72.57, SE 73.17, ECA 73.31 %, one training each. Expected top-1 here: not
measured.

  python train.py --config=configs/b0_attention.py --workdir=runs/b0_eca
  python train.py --config=configs/b0_attention.py --workdir=W --config.model.name=efficientnet_b0

Names: eca_efficientnet_b0, efficientnet_b0 (SE), b0_nose_all (none).
"""

import ecanet_jax.config


def get_config():
  config = ecanet_jax.config.get_config()
  config.model.name = 'eca_efficientnet_b0'
  config.epochs = 0.0
  config.steps = 65_000  # x 1024 images
  config.batch_size = 1024
  config.schedule.name = 'cosine'
  config.compute_dtype = 'bfloat16'
  return config

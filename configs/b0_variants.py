"""EfficientNet-B0 with SE moved or removed, MEC blocks, or compact: the slides' networks.

"Practical Analysis on Architecture of EfficientNet", "Rethinking Mobile Inverted Bottleneck
Convolution", "A Compact version of EfficientNet". Of the training they only say TensorFlow on a
Cloud TPU. Here it is TensorFlow EfficientNet's with AutoAugment, whose published 77.1 % for B0
(tensorflow/tpu) is near the slides' 77.2 %.
The slides' top-1: B0 77.2; SEend noskip, hasskip, all 77.1, 76.5, 76.2; noSE 77.1, 76.6, 75.8; MEC
up to 78.10; lite 73.25, compact 73.05 %. Expected top-1 here: not measured.

  python train.py --config=configs/b0_variants.py --workdir=runs/seend_noskip
  python train.py --config=configs/b0_variants.py --workdir=W --config.model.name=mec_c_e3_5

Names: b0_seend_*, b0_nose_*, mec_*, b0_compact, b0_conv131, b0_stage2_*, efficientnet_lite0,
efficientnet_b0 (`python -m ecanet_jax models` has their published figures).
"""

import ecanet_jax.config


def get_config():
  config = ecanet_jax.config.recipe('tf_efficientnet', 'b0')
  config.model.name = 'b0_seend_noskip'
  config.model.preset = 'tf'
  return config

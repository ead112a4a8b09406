"""EfficientNet-B0 with ECA on scikit-learn's handwritten digits (UCI Optical Recognition, 8x8).

The quick start: 1,437 training and 360 test images through TFDS and tf.data, enlarged to 32 px,
with the published network. Expected top-1: at least 98 %; docs/ablations.md
has the measured figures.

  python -m ecanet_jax prepare --dataset=digits --data_dir=data
  python train.py --config=configs/digits.py --workdir=runs/digits
"""

import ecanet_jax.config


def get_config():
  config = ecanet_jax.config.get_config()
  config.epochs = 10.0
  config.batch_size = 64
  config.model.name = 'eca_efficientnet_b0'
  config.model.num_classes = 10
  config.model.drop_path = 0.0
  config.data.name = 'digits'
  config.data.data_dir = 'data'
  config.data.eval_split = 'test'
  config.data.image_size = 32
  config.data.area = (0.8, 1.0)
  config.data.flip = False  # a mirrored digit is another digit, or none
  config.data.crop_fraction = 1.0
  config.data.interpolation = 'bilinear'
  config.loss.label_smoothing = 0.0
  config.optimizer.name = 'sgd'
  config.optimizer.nesterov = True
  config.optimizer.weight_decay = 1e-4
  config.schedule.name = 'cosine'
  config.schedule.lr = 0.2
  config.schedule.warmup_epochs = 2.0
  config.ema.decay = 0.98
  config.log_steps = 20
  config.eval_epochs = 2.5
  config.save_epochs = 2.5
  config.export = True
  return config

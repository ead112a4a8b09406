"""A tiny network on made images held in memory: tries a machine's set-up in seconds, without data.

The classes can be told apart, so the loss falls; no result is published.

  python train.py --config=configs/smoke.py --workdir=runs/smoke
"""

import ecanet_jax.config


def get_config():
  config = ecanet_jax.config.get_config()
  config.epochs = 8.0
  config.batch_size = 64
  config.model.name = 'tiny_efficientnet'
  config.model.num_classes = 10
  config.data.source = 'memory'
  config.data.name = 'synthetic'
  config.data.eval_split = 'test'
  config.data.image_size = 32
  config.data.area = (0.8, 1.0)  # they have 8 px
  config.optimizer.name = 'sgd'
  config.schedule.name = 'cosine'
  config.schedule.lr = 0.4
  config.schedule.warmup_epochs = 1.0
  config.ema.decay = 0.9
  config.log_steps = 10
  config.eval_epochs = 2.0
  config.save_epochs = 2.0
  config.tensorboard = True
  return config

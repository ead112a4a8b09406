"""Fine-tuning on your own images, from weights.

  ecanet_jax finetune WEIGHTS IMAGES
  python train.py --config=configs/finetune.py --workdir=runs/mine --config.data.data_dir=IMAGES \
    --config.init.weights=WEIGHTS

WEIGHTS: a training's workdir, a timm folder, 'hf-hub:timm/tf_efficientnet_b0.in1k', or a file, for
which --config.model.name is needed, too. They give the network and the preprocessing; the folder
gives the classes. IMAGES: a folder for each class, of which a fifth of the images is held out for
evaluation; or IMAGES/train/CLASS/* and IMAGES/val/CLASS/*. The command `finetune` also fits batch
size and epochs to the number of images.

The schedule is that of configs/transfer.py, shortened to 30 epochs and with a warm-up for the new
classifier; batch 64, so that it fits a small device. Expected top-1: not measured.
"""

import ecanet_jax.config


def get_config():
  config = ecanet_jax.config.get_config()
  config.epochs = 30.0
  config.batch_size = 64
  config.model.bn_decay = 0.9
  config.data.source = 'folder'
  config.data.eval_split = 'val'
  config.data.eval_share = 0.2
  config.data.area = (0.25, 1.0)
  config.optimizer.name = 'sgd'
  config.optimizer.nesterov = True
  config.optimizer.weight_decay = 1e-5
  config.schedule.name = 'cosine'
  config.schedule.lr = 0.04  # 0.01 at batch 64
  config.schedule.warmup_epochs = 1.0
  config.ema.decay = 0.99
  config.log_steps = 20
  config.export = True
  return config

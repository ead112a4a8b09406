"""Faster R-CNN with FPN on COCO, plain, with SE and with ECA: Table 4 of ECA-Net.

The code is mmdetection 1.0rc0, configs/faster_rcnn_r50_fpn_1x.py; the paper trains with 8 images a
step and a learning rate of 0.01 for 12 epochs, a tenth after 8 and 11, from ImageNet weights.
Stem and stage 1 are frozen, BatchNorm keeps its statistics, and the gradient's norm is at most 35.
Published AP on val2017: R-50 plain 36.4, SE 37.7, ECA 38.0; R-101 38.7, 39.6, 40.3.
Expected here: not measured.

  python train.py --config=configs/faster_rcnn.py --workdir=W --config.data.data_dir=coco \
    --config.data.train_json=coco/annotations/instances_train2017.json \
    --config.data.eval_json=coco/annotations/instances_val2017.json \
    --config.init.weights=BACKBONE

BACKBONE is a training or a folder of the network that is the backbone: resnet50, se_resnet50, or
eca_resnet50 with the k in configs/eca_resnet.py.
Names: faster_rcnn_r50_fpn, se_faster_rcnn_r50_fpn, eca_faster_rcnn_r50_fpn, and the same with r101.
"""

import ecanet_jax.config

IMAGES = 117_266  # of train2017 that have objects and sides of at least 32 pixels
WARMUP_STEPS = 500


def get_config():
  config = ecanet_jax.config.get_config()
  config.epochs = 12.0
  config.batch_size = 8
  config.model.name = 'eca_faster_rcnn_r50_fpn'
  config.model.num_classes = 80
  config.model.frozen_stages = 1
  config.model.frozen_bn = True
  config.data.source = 'coco'
  config.data.name = 'coco/2017'
  config.data.train_split = 'train2017'
  config.data.eval_split = 'val2017'
  config.data.interpolation = 'bilinear'
  config.data.mean = (123.675 / 255, 116.28 / 255, 103.53 / 255)
  config.data.std = (58.395 / 255, 57.12 / 255, 57.375 / 255)
  config.loss.label_smoothing = 0.0
  config.optimizer.name = 'sgd'
  config.optimizer.weight_decay = 1e-4
  config.optimizer.decay_batch_norm = True
  config.optimizer.clip_norm = 35.0
  config.schedule.name = 'step'
  config.schedule.lr = 0.01 * 256 / 8  # 0.01 for a batch of 8
  config.schedule.milestones = (8.0, 11.0)
  config.schedule.decay_rate = 0.1
  config.schedule.warmup_epochs = (WARMUP_STEPS + 0.5) * 8 / IMAGES  # is cut to whole steps
  config.schedule.warmup_from = 0.01 / 3
  config.ema.decay = 0.0
  return config

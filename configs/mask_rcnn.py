"""Mask R-CNN with FPN on COCO, plain, with SE and with ECA: Table 5 of ECA-Net (and 4, its boxes).

The code is mmdetection 1.0rc0, configs/mask_rcnn_r50_fpn_1x.py; the paper trains with 8 images a
step and a learning rate of 0.01 for 12 epochs, a tenth after 8 and 11, from ImageNet weights.
Stem and stage 1 are frozen, BatchNorm keeps its statistics, and the gradient's norm is at most 35.
Published box AP / mask AP on val2017, R-50: plain 37.2 / 34.1, SE 38.7 / 35.4, ECA 39.0 / 35.6.
Expected here: not measured.

  python train.py --config=configs/mask_rcnn.py --workdir=W --config.data.data_dir=coco \
    --config.data.train_json=coco/annotations/instances_train2017.json \
    --config.data.eval_json=coco/annotations/instances_val2017.json \
    --config.init.weights=BACKBONE

BACKBONE is a training or a folder of the network that is the backbone: resnet50, se_resnet50, or
eca_resnet50 with the k in configs/eca_resnet.py.
Names: mask_rcnn_r50_fpn, se_mask_rcnn_r50_fpn, eca_mask_rcnn_r50_fpn, and the same with r101.
"""

import ecanet_jax.config


def get_config():
  config = ecanet_jax.config.recipe('faster_rcnn')
  config.model.name = 'eca_mask_rcnn_r50_fpn'
  return config

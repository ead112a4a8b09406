"""SE-ResNet, SE-ResNeXt, SE-BN-Inception and SENet-154: SENet's training (Hu et al., CVPR 2018).

SGD with momentum 0.9, batch 1024, 0.6, divided by 10 every 30 of 100 epochs; rotation by up to 10
degrees (hujie-frank/SENet, README; its "pixel jitter" of 20 is not described and left out). The
weight decay, which the paper does not say, is ECA-Net's for the same networks, 1e-4.
Published top-1 of SE-ResNet-50, 101, 152 (Table 2): 76.71, 77.62, 78.43 %. Expected top-1 here: not
measured.

  python train.py --config=configs/senet.py --workdir=runs/se_resnet50
  python train.py --config=configs/senet.py --workdir=W --config.model.name=se_resnext50_32x4d

Names: se_resnet50_v1, se_resnet101_v1, se_resnet152_v1, without SE resnet50_v1 and so on;
se_resnext50_32x4d, se_resnext101_32x4d, se_bn_inception, se_vgg16_bn, senet154.
"""

import ecanet_jax.config


def get_config():
  config = ecanet_jax.config.recipe('eca_resnet')
  config.model.name = 'se_resnet50_v1'
  config.batch_size = 1024
  config.augment.rotation = 10.0
  config.schedule.lr = 0.15  # 0.6 at batch 1024
  return config

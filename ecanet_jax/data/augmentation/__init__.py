"""Random augmentation of training images.

host/: on decoded image files, with tf.data. A pure function of (seed, epoch, index).

- crop: random crop and mirroring;
- chain: then rotation, a policy, colour jitter and lighting noise, in this order. The policies'
  tables are in policies, their operations in operations, geometry and color.

resampled_crop: the same crop and mirroring for images that are already decoded
(data.source='memory', data.resident), without TensorFlow.

device/: in the compiled training step, for images of every source. A pure function of (seed, step).

- mixing: mixup and cutmix; erasing: random erasing.

settings checks the configuration. Only host/ imports TensorFlow.
"""

"""What happens to a training image at random.

By tf.data on the host, for images that are decoded, each a pure function of (epoch's key, index):

- crop: which part is seen, and mirroring;
- chain: then, in this order, rotation, a policy, colour jitter and lighting noise; the policies'
  tables are in policies, their operations in operations, geometry and color.

For images that are held decoded (source memory, data.resident), without TensorFlow:

- sampling: the same crop and mirroring; drawn on the host, applied there or in the compiled step.

In the compiled training step, for images of every source, a pure function of (seed, step):

- mixing: mixup and cutmix; erasing: random erasing.

settings says what of all this a configuration may ask for. Nothing here imports TensorFlow but what
runs on the host.
"""

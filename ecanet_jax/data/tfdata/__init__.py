"""The tf.data pipeline: decoding, augmentation on the host, corrupt images."""

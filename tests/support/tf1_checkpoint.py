"""TF1 checkpoints of random values, under tensorflow/tpu's names."""

import numpy as np
import tensorflow as tf

from ecanet_jax import create_model
from ecanet_jax.nn.parameter_shapes import parameter_shapes

MODEL = create_model('tiny_efficientnet', attention='se', preset='tf', num_classes=10)
OURS = {'gamma': 'scale', 'beta': 'bias', 'moving_mean': 'mean', 'moving_variance': 'var'}
CLASSES = {'conv': 'conv2d', 'depthwise': 'depthwise_conv2d', 'bn': 'tpu_batch_normalization'}


def tf1_layers(model):
  """Yields our layers and TF1's names of them.

  They follow tensorflow/tpu's own rule, not our table: a block counts its layers of each class in
  the order in which it makes them.
  """
  yield 'stem', 'stem/conv2d'
  yield 'stem_bn', 'stem/tpu_batch_normalization'
  for number, block in enumerate(model.blocks()):
    made = [('expand', 'conv'), ('expand_bn', 'bn')] * block.expands
    made += [('depthwise', 'depthwise'), ('depthwise_bn', 'bn')]
    made += [('project', 'conv'), ('project_bn', 'bn')]
    counts = dict.fromkeys(CLASSES, 0)
    for ours, kind in made:
      suffix = f'_{counts[kind]}' if counts[kind] else ''
      counts[kind] += 1
      yield f'{block.name}/{ours}', f'blocks_{number}/{CLASSES[kind]}{suffix}'
    yield f'{block.name}/attention/reduce', f'blocks_{number}/se/conv2d'
    yield f'{block.name}/attention/expand', f'blocks_{number}/se/conv2d_1'
  yield 'head', 'head/conv2d'
  yield 'head_bn', 'head/tpu_batch_normalization'
  yield 'classifier', 'head/dense'


def tf1_variables(model, scope='efficientnet-tiny/'):
  """TF1 variables of random values, and the same values under our paths."""
  random = np.random.default_rng(0)
  shapes = parameter_shapes(model)
  theirs, ours = {}, {}
  for module, layer in tf1_layers(model):
    for path, shape in shapes.items():
      collection, _, rest = path.partition('/')
      owner, _, array = rest.rpartition('/')
      if owner != module:
        continue
      value = random.normal(size=shape).astype(np.float32)
      value = np.abs(value) if array == 'var' else value
      name = array
      stored = value
      if module.endswith('_bn'):
        name = next(theirs for theirs, own in OURS.items() if own == array)
      elif array == 'kernel' and value.ndim == 3:
        name, stored = 'depthwise_kernel', value[:, :, :, None]
      elif array == 'kernel' and value.ndim == 2 and module != 'classifier':
        stored = value[None, None]
      theirs[f'{scope}{layer}/{name}'] = stored
      ours[path] = value
  assert len(ours) == len(shapes)
  return theirs, ours


def save(prefix, variables):
  """Writes variables as a TF1 checkpoint and returns its prefix."""
  names = sorted(variables)
  tf.raw_ops.SaveV2(
    prefix=prefix, tensor_names=names, shape_and_slices=[''] * len(names),
    tensors=[tf.constant(variables[name]) for name in names],
  )
  return prefix

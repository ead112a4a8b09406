"""python -m tests.support.default_path [few]: kinds of attention and families on the CPU backend.

For a process as a user starts it: one device, no settings. Each network's logits, loss and gradient
are compared with those of XLA's operations; one JSON line each.
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np

from ecanet_jax import create_model
from ecanet_jax.nn.attention import ATTENTION
from ecanet_jax.ops import select_backend
from tests.support.random_variables import random_variables

# One block of 16 channels with every position.
RESNET = {'depths': (1,), 'planes': 16, 'stem_width': 16, 'bottleneck': False}
FAMILIES = [
  'tiny_efficientnet', 'tiny_mobilenetv2', 'tiny_mec', 'tiny_compact', 'tiny_resnet', 'tiny_vgg',
  'tiny_bn_inception', 'tiny_inception_resnet_v2',
]
CASES = [(name, {}) for name in FAMILIES] + [
  ('resnet18', {**RESNET, 'attention': {'kind': kind}}) for kind in ATTENTION
]
FEW = [CASES[0], *(case for case in CASES if case[1].get('attention', {}).get('kind') in (
  'none', 'se', 'eca', 'cbam'))]


def results(name: str, fields: dict, backend: str):
  """Logits in evaluation, and the loss and gradient of a training step, of one program."""
  model = create_model(name, num_classes=7, dropout=0.0, drop_path=0.0, backend=backend, **fields)
  size = 80 if 'inception_resnet' in name else 64 if 'aa' in str(fields) else 32
  x = jnp.asarray(np.random.default_rng(0).normal(size=(4, size, size, 3)), jnp.float32)
  variables = random_variables(model)

  def loss(params):
    all_variables = {**variables, 'params': params}
    logits, _ = model.apply(all_variables, x, train=True, mutable=['batch_stats'])
    return jnp.square(logits).mean(), model.apply(all_variables, x, train=False)

  quick = {'xla_backend_optimization_level': 0}
  both = jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options=quick)
  (loss, logits), gradient = both(variables['params'])
  return logits, loss, gradient


def apart(a, b) -> float:
  """|a - b| / |b| of all values of two trees."""
  a, b = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in (a, b))
  return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def main() -> None:
  backend = select_backend('auto', jax.devices())
  print(json.dumps({'backend': backend, 'devices': jax.device_count()}))
  for name, fields in FEW if sys.argv[1:] == ['few'] else CASES:
    mine, theirs = (results(name, fields, each) for each in (backend, 'xla'))
    difference = {
      key: apart(a, b) for key, a, b in zip(('logits', 'loss', 'gradient'), mine, theirs)
    }
    print(json.dumps({'name': name, 'fields': str(fields), **difference}), flush=True)


if __name__ == '__main__':
  main()

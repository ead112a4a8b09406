"""python -m tests.support.default_path [few]: kinds of attention and families on the CPU backend.

For a process as a user starts it: one device, no settings. Each network's logits, loss and gradient
are compared with those of XLA's operations in float64; one JSON line each. In float32 XLA's own
gradient of Inception-ResNet can be 1e-3 from that.
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


def results(name: str, fields: dict, backend: str, dtype=jnp.float32):
  """Logits in evaluation, and the loss and gradient of a training step, of one program."""
  model = create_model(name, num_classes=7, dropout=0.0, drop_path=0.0, backend=backend, **fields)
  size = 80 if 'inception_resnet' in name else 64 if 'aa' in str(fields) else 32
  x = np.random.default_rng(0).normal(size=(4, size, size, 3)).astype(np.float32)
  x, variables = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (x, random_variables(model)))

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
  cases = FEW if sys.argv[1:] == ['few'] else CASES
  computed = [jax.device_get(results(name, fields, backend)) for name, fields in cases]
  jax.config.update('jax_enable_x64', True)
  for (name, fields), mine in zip(cases, computed, strict=True):
    theirs = results(name, fields, 'xla', jnp.float64)
    difference = {
      key: apart(a, b) for key, a, b in zip(('logits', 'loss', 'gradient'), mine, theirs)
    }
    print(json.dumps({'name': name, 'fields': str(fields), **difference}), flush=True)


if __name__ == '__main__':
  main()

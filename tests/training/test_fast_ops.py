"""60 steps with the CPU kernels are 60 steps without them.

In float64, as a rounding in float32 grows to more than 100 % of a loss in so many steps (see
test_hundred_steps.py); on one device, the only ones that have the kernels.
"""

import json
import sys

import numpy as np
import pytest

from ecanet_jax.ops import native
from tests import programs

STEPS = 60
FAST = {'conv_op': 'auto', 'depthwise': 'auto', 'norm_op': 'auto'}  # Winograd's and products, too
PLAIN = {'conv_op': 'plain', 'depthwise': 'shift', 'norm_op': 'plain'}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize('recipe', ['b0', 'resnet18'])
def test_the_loss_is_the_same_at_every_step(recipe):
  done = programs.finish(programs.start('-m', 'tests.training.test_fast_ops', recipe), 1700)
  assert not done.returncode, done.stderr
  fast, plain = np.array(json.loads(done.stdout.splitlines()[-1]))
  deviation = np.abs(fast / plain - 1).max()
  print(f'{recipe}: loss {plain[0]:.4f} -> {plain[-1]:.4f}, largest deviation {deviation:.1e}')
  assert len(fast) == STEPS and plain[-1] < plain[0]
  assert deviation < 1e-4
  assert (fast != plain).any()  # they are two computations


def main(recipe: str) -> None:
  from tests import torchvision_shim  # noqa: F401  before timm
  from tests.training import test_hundred_steps as twin

  assert native.load('float64')
  config, _ = getattr(twin, recipe)()
  config.model.num_classes = 10
  data = list(twin.batches(config.batch_size, config.data.image_size))[:STEPS]
  print(json.dumps([twin.our_losses(config, data, **fields)[1] for fields in (FAST, PLAIN)]))


if __name__ == '__main__':
  main(sys.argv[1])

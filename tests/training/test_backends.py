"""60 steps with the CPU backend are 60 steps with XLA.

In float64, as a rounding in float32 grows to more than 100 % of a loss in so many steps (see
test_hundred_steps.py); on one device, the only ones that have the kernels. Losses are float32, in
which both are often the same; the parameters, float64, say that they are two computations.
"""

import sys

import jax
import numpy as np
import pytest

from tests.support import programs

STEPS = 60


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize('recipe', ['b0', 'resnet18'])
def test_the_training_is_the_same(recipe, tmp_path, load_kernels):
  load_kernels('float64')
  results = []
  for backend in ('cpu', 'xla'):
    arguments = '-m', 'tests.training.test_backends', recipe, backend, str(tmp_path / backend)
    done = programs.finish(programs.start(*arguments), 1700)
    assert not done.returncode, done.stderr
    with np.load(tmp_path / f'{backend}.npz') as file:
      results.append((file['losses'], file['parameters']))
  (fast, ours), (plain, theirs) = results
  deviation = np.abs(fast / plain - 1).max()
  difference = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
  print(f'{recipe}: loss {plain[0]:.4f} -> {plain[-1]:.4f}, largest deviation {deviation:.1e}; '
        f'{theirs.size:,} parameters differ by {difference:.1e}')
  assert len(fast) == STEPS and plain[-1] < plain[0]
  assert deviation < 1e-4
  assert 0 < difference < 1e-4


def main(recipe: str, backend: str, file: str) -> None:
  from ecanet_jax.weights.torchvision_shim import import_torchvision

  import_torchvision()
  from tests.support import float64_training as twin

  config, _ = getattr(twin, recipe)()
  config.model.num_classes = 10
  data = list(twin.batches(config.batch_size, config.data.image_size))[:STEPS]
  _, losses, parameters = twin.our_losses(config, data, backend=backend)
  flat = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(parameters)])
  np.savez(file, losses=losses, parameters=flat)


if __name__ == '__main__':
  main(*sys.argv[1:])

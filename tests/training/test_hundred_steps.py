"""100 steps of two recipes beside a PyTorch twin that is trained by the same recipe's own words.

The twin begins with our weights and sees the same batches of the handwritten digits; augmentation,
dropout and drop-path are off. Its schedule and its set of decaying parameters are written here.

Both compute in float64: without a warm-up the first steps of a ResNet multiply a rounding by ten to
a hundred each, so that after 100 of them PyTorch's own losses in float32 and float64 differ by more
than 100 % where they are small.
"""

import numpy as np
import pytest

from tests.support.float64_training import b0, batches, our_losses, resnet18, twin_losses


def compare(recipe):
  """Losses of both sides and the relative deviation at each step."""
  config, words = recipe()
  config.model.num_classes = 10
  data = list(batches(config.batch_size, config.data.image_size))
  start, ours, _ = our_losses(config, data)
  theirs = twin_losses(config, start, data, **words)
  ours, theirs = np.array(ours), np.array(theirs)
  return ours, theirs, np.abs(ours / theirs - 1)


@pytest.mark.slow
@pytest.mark.timeout(5400)
@pytest.mark.parametrize('recipe', [resnet18, b0])
def test_the_loss_is_the_twins_at_every_step(recipe):
  ours, theirs, deviation = compare(recipe)
  worst = int(deviation.argmax())
  print(
    f'{recipe.__name__}: loss {ours[0]:.4f} -> {ours[-10:].mean():.4f}, largest deviation '
    f'{100 * deviation[worst]:.3f} % at step {worst}'
  )
  assert ours[-10:].mean() < 0.6 * ours[0]  # it learns; smoothed labels leave a loss of 0.5
  assert deviation.max() < 0.01

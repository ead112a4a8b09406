"""What the command `finetune` sets beside the recipe: by preset, and by the number of images."""

import math
from collections.abc import Collection
from typing import Any

# What a preset sets, beside the recipe.
PRESETS: dict[str, dict[str, Any]] = {
  'full': {},
  'layer_decay': {'optimizer.layer_decay': 0.75},
  'head': {'model.frozen_stages': -1, 'optimizer.weight_decay': 0.0, 'schedule.lr': 0.1},
}
EPOCHS, MOST_EPOCHS = 30, 200
STEPS = 200  # least steps of a training, as far as MOST_EPOCHS allows
BATCH = 64  # largest batch
EVALUATIONS = 10  # of a training


def fit(config, given: Collection[str]) -> None:
  """Fits the batch size, the epochs and the intervals to the number of training images.

  A batch has a quarter of the images, from 8 to 64, and is a multiple of the devices. There are 30
  epochs, or as many as 200 steps take, but not more than 200.

  Args:
    config: the whole config; keys in `given` stay.
    given: the keys of the command line.

  Raises:
    UserError: there are no images, or the folders do not agree.
  """
  import jax

  from ecanet_jax import data

  images = data.open(config).info.train.num_examples
  count = jax.device_count()
  batch = min(max(2 ** int(math.log2(max(images / 4, 1))), 8), BATCH, images)
  values: dict[str, Any] = {'batch_size': max(batch // count, 1) * count}
  batch = config.batch_size if 'batch_size' in given else values['batch_size']
  values['epochs'] = float(max(EPOCHS, min(math.ceil(STEPS * batch / images), MOST_EPOCHS)))
  if 'steps' in given:
    values['epochs'], epochs = 0.0, config.steps * batch / images
  else:
    epochs = config.epochs if 'epochs' in given else values['epochs']
  values['schedule.warmup_epochs'] = min(config.schedule.warmup_epochs, epochs / 10)
  values['eval_epochs'] = values['save_epochs'] = epochs / EVALUATIONS
  config.update_from_flattened_dict(
    {key: value for key, value in values.items() if key not in given}
  )

"""Evaluates weights of any form with the preprocessing that travels with them."""

import json
import os
from collections.abc import Collection
from typing import Any

import jax

from ecanet_jax import data
from ecanet_jax.data import presets
from ecanet_jax.errors import lookup
from ecanet_jax.training import sharding
from ecanet_jax.training.evaluate import evaluate, evaluated, make_eval_step, place, result_line
from ecanet_jax.training.progress import log
from ecanet_jax.training.task import Classification
from ecanet_jax.training.trainer import make_model
from ecanet_jax.weights.source import Source, read_source

# --preset: what travels with the weights, what the recipe says, or a name.
PRESETS = ('weights', 'config', *presets.PRESETS)


def evaluate_weights(
  config,
  path: str | os.PathLike,
  *,
  checkpoint: str = 'last',
  weights: str = 'ema',
  dialect: str = 'timm',
  preset: str = 'weights',
  given: Collection[str] = (),
) -> dict[str, Any]:
  """Evaluates weights on the config's evaluation split and prints the result twice.

  Args:
    config: data set and batch size, and for a file the network; else the network is the weights'.
    path: workdir of a training, converted weights, timm folder or file; see `read_source`.
    checkpoint: of a training: 'last', 'best' or a step.
    weights: 'ema' or 'raw'.
    dialect: whose names a file has.
    preset: the images' preprocessing: 'weights' = what travels with the weights (of a bare file,
      the default preset of its network), 'config' = the config's, or a name of `PRESETS`.
    given: keys such as 'data.mean' that the user set by hand; they stay the config's.

  Raises:
    UserError: nothing there to read, or the data set does not fit the network.
  """
  lookup(dict.fromkeys(PRESETS), preset, 'preset')
  mesh = sharding.make_mesh()
  sharding.check_batch('batch_size', config.batch_size, mesh)
  bare = not os.path.isdir(path)
  source = read_source(
    path, model=config.model.to_dict() if bare else None, dialect=dialect, weights=weights,
    step=int(checkpoint) if checkpoint.isdigit() else checkpoint,
  )
  said = apply_preprocessing(config, source, preset, given)
  with config.unlocked():
    config.model = source.model
  info, task = data.describe(config), Classification(config)
  log.info('%s: preprocessing %s: %s', path, said, presets.describe(config.data))
  model = make_model(config, info.num_classes)
  batches, steps = data.eval_batches(
    config, host=jax.process_index(), num_hosts=jax.process_count()
  )
  metrics = evaluate(
    make_eval_step(evaluated(model, config), task, mesh),
    place(model, source.variables, config, mesh), batches, steps, info.eval.num_examples, task,
    mesh,
  )
  if jax.process_index() == 0:
    form = f'checkpoint {checkpoint} of {path}' if not source.state_dict else str(path)
    name = f'{weights} weights, {form}' if not source.state_dict else form
    print(result_line(metrics, info.eval.name, info.eval.num_examples, name))
    print(json.dumps({'model': config.model.name, 'data': info.eval.name, **metrics}), flush=True)
  return metrics


def apply_preprocessing(config, source: Source, preset: str, given: Collection[str]) -> str:
  """Puts the chosen preprocessing into `config.data`; returns where it is from, in words.

  A named preset is for the image size of the weights.
  """
  if preset == 'config':
    return 'as the config says'
  values, said = source.data, source.preprocessing
  if preset != 'weights':
    values = presets.preset(preset).data(source.data.get('image_size', config.data.image_size))
    said = f'the preset {preset}'
  by_hand = [key for key in values if f'data.{key}' in given]
  for key, value in values.items():
    if key not in by_hand:
      config.data[key] = type(config.data[key])(value)  # lists become tuples, 1 becomes 1.0
  return said + (f', but for {", ".join(by_hand)} of the command line' if by_hand else '')

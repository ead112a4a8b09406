"""Our side: a trained detector on one picture at a time, or its training step."""

from typing import Any

import jax

from benchmarks.detection.scenes import NUMBER, as_lists, unseen
from ecanet_jax.config.stored import read_config
from ecanet_jax.detection.from_config import make_network
from ecanet_jax.inference.detector import load_detector
from ecanet_jax.runtime import sharding
from ecanet_jax.runtime.memory import keep_freed_memory
from ecanet_jax.tasks.choice import make_task, open_data
from ecanet_jax.training.optimizer import make_optimizer
from ecanet_jax.training.schedule import make_schedule
from ecanet_jax.training.state import init_state
from ecanet_jax.training.step import make_train_step


class Inference:
  """From an image to labels, scores, boxes and masks in the image.

  Attributes:
    device: its name.
  """

  device = 'CPU'

  def __init__(self, setting: dict[str, Any]):
    keep_freed_memory()
    self._detector, self._images = load_detector(setting['workdir']), unseen()

  def run(self, calls: int) -> None:
    """Looks at the next `calls` images."""
    for call in range(calls):
      self._detector.find(self._images[call % NUMBER])

  def found(self) -> dict[str, Any]:
    """What is on the images."""
    return {'found': [as_lists(self._detector.find(image)) for image in self._images]}


class Training:
  """The training step of the recipe, on one batch.

  Attributes:
    device: its name.
  """

  device = 'CPU'

  def __init__(self, setting: dict[str, Any]):
    keep_freed_memory()
    config = read_config(setting['workdir'])
    mesh, dataset = sharding.make_mesh(1), open_data(config)
    model = make_network(config, config.model.num_classes, mesh)
    task = make_task(config, (), model, dataset)
    schedule = make_schedule(config, 1, config.steps)
    tx = make_optimizer(config, schedule, model.is_frozen, model.stages_behind)
    self._state = init_state(model, tx, config, task.example(), mesh)
    self._step = make_train_step(model, task, tx, schedule, config, mesh)
    self._batch = sharding.put_batch(next(dataset.train(0, 1)), mesh)

  def run(self, calls: int) -> None:
    """Takes `calls` steps, one at a time."""
    for _ in range(calls):
      self._state, metrics = self._step(self._state, self._batch)
      jax.block_until_ready(metrics)

"""A Mask R-CNN of a few thousand parameters for digit scenes of 64 pixels, as a config."""

import jax

from configs import digit_scenes
from ecanet_jax.detection.from_config import make_network
from ecanet_jax.runtime import sharding
from ecanet_jax.tasks.choice import make_task, open_data
from ecanet_jax.training.optimizer import make_optimizer
from ecanet_jax.training.schedule import make_schedule
from ecanet_jax.training.state import init_state
from ecanet_jax.training.step import make_train_step


def configured(**changes):
  """The config, with changes by their keys."""
  config = digit_scenes.get_config()
  config.update_from_flattened_dict({
    'steps': 4, 'log_steps': 1, 'tensorboard': False, 'model.planes': 8,
    'model.depths': (1, 1, 1, 1),
    'model.detector.channels': 8, 'model.detector.hidden': 16, 'model.detector.mask_convs': 0,
    'model.detector.proposals_before_nms': (32, 16), 'model.detector.proposals': (16, 8),
    'model.detector.rpn_samples': 32, 'model.detector.roi_samples': 8,
    'model.detector.detections': 8, 'detection.shorter': 64, 'detection.longer': 64,
    'detection.buckets': ((64, 64),), 'detection.mask_size': 16, 'detection.train_scenes': 24,
    'detection.eval_scenes': 8, **changes,
  })
  return config


class Training:
  """The parts of a training on some devices, without a trainer."""

  def __init__(self, config, devices: int = 1):
    self.config, self.mesh = config, sharding.make_mesh(devices)
    self.dataset = open_data(config)
    self.model = make_network(config, config.model.num_classes, self.mesh)
    self.task = make_task(config, (), self.model, self.dataset)
    schedule = make_schedule(config, 3, config.steps)
    self.tx = make_optimizer(config, schedule, self.model.is_frozen, self.model.stages_behind)
    self.state = init_state(self.model, self.tx, config, self.task.example(), self.mesh)
    self.step = make_train_step(
      self.model, self.task, self.tx, schedule, config, self.mesh)

  def advance(self, batch: dict) -> dict[str, float]:
    """Takes one step; returns its metrics."""
    self.state, metrics = self.step(self.state, sharding.put_batch(batch, self.mesh))
    return {name: float(value) for name, value in jax.device_get(metrics).items()}

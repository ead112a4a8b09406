"""What a training tells others: utilisation, a profile, experiment trackers."""

import json
import pathlib
import re
import sys
import types

import jax
import pytest

from configs import smoke
from ecanet_jax import create_model
from ecanet_jax.config import schema
from ecanet_jax.models.count import count
from ecanet_jax.runtime import accelerators
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.training.logging import trackers
from ecanet_jax.training.logging.profile import check_profile
from ecanet_jax.training.logging.utilization import Utilization
from ecanet_jax.training.logging.writers import read_metrics
from ecanet_jax.training.progressive_resizing import Stretch
from ecanet_jax.training.trainer import train_and_evaluate

PARTS = [Stretch(0, 10, 32), Stretch(10, 20, 64)]


def devices(kind, number):
  return [types.SimpleNamespace(device_kind=kind)] * number


def test_utilization():
  model = create_model('efficientnet_lite0')
  use = Utilization(model, PARTS, devices('TPU v5 lite', 4))
  small, large = use.figures(10, 4000.0), use.figures(11, 4000.0)
  assert small['images_per_second_per_chip'] == 1000.0
  assert small['mfu'] == 6 * count(model, 32).operations() * 1000 / 197e12
  assert large['mfu'] == 6 * count(model, 64).operations() * 1000 / 197e12
  assert Utilization(model, PARTS, devices('NVIDIA H200', 1)).figures(1, 8.0).keys() == {'mfu'}


def test_no_utilization_where_the_peak_is_not_known():
  model = None  # which is not even looked at
  assert Utilization(model, PARTS, devices('cpu', 1)).figures(1, 8.0) == {}
  found = Utilization(model, PARTS, devices('cpu', 4)).figures(1, 8.0)
  assert found == {'images_per_second_per_chip': 2.0}


def test_peaks_are_those_of_the_compiled_topologies():
  from ecanet_jax.aot.topologies import CHIPS

  assert {chip.flops for chip in CHIPS.values()} <= set(accelerators.PEAK_FLOPS.values())


@pytest.fixture
def config():
  """A few steps of a small network."""
  config = smoke.get_config()
  config.batch_size, config.data.image_size, config.log_steps = 32, 16, 2
  config.epochs, config.steps, config.eval_epochs = 0.0, 4, 0.0
  config.tensorboard, config.schedule.warmup_epochs = False, 0.0
  return config


class Service:
  """The calls of a fake module, with their arguments."""

  def __init__(self):
    self.calls = []

  def call(self, name, returns=None):
    def record(*args, **kwargs):
      self.calls.append((name, args, kwargs))
      return returns

    return record

  def of(self, name):
    return [(args, kwargs) for called, args, kwargs in self.calls if called == name]


@pytest.fixture
def wandb(monkeypatch):
  service = Service()
  run = types.SimpleNamespace(
    id='abc123', log=service.call('log'), finish=service.call('finish')
  )
  module = types.ModuleType('wandb')
  module.init = service.call('init', run)
  monkeypatch.setitem(sys.modules, 'wandb', module)
  monkeypatch.delenv('WANDB_PROJECT', raising=False)
  return service


@pytest.fixture
def mlflow(monkeypatch):
  service = Service()
  run = types.SimpleNamespace(info=types.SimpleNamespace(run_id='def456'))
  module = types.ModuleType('mlflow')
  for name in ('set_experiment', 'log_params', 'log_metrics', 'end_run'):
    setattr(module, name, service.call(name))
  module.start_run = service.call('start_run', run)
  monkeypatch.setitem(sys.modules, 'mlflow', module)
  monkeypatch.setenv('MLFLOW_EXPERIMENT_NAME', 'birds')
  return service


@pytest.mark.slow
def test_a_training_with_profile_and_trackers(config, wandb, mlflow, tmp_path, heard):
  config.trackers, config.profile.first, config.profile.last = ('wandb', 'mlflow'), 2, 3
  train_and_evaluate(config, tmp_path)
  lines = read_metrics(tmp_path)

  (trace,) = tmp_path.rglob('*.xplane.pb')
  assert trace.relative_to(tmp_path).parts[:3] == ('tensorboard', 'plugins', 'profile')
  steps = profiled_steps(trace)
  assert steps == {2, 3}
  assert f'profile of the steps up to 3: tensorboard --logdir={tmp_path}' in heard.text

  ((_, start),) = wandb.of('init')
  assert start['project'] == 'ecanet_jax' and start['config']['batch_size'] == 32
  assert (start['id'], start['resume'], start['dir']) == (None, 'allow', str(tmp_path))
  sent = [{'step': kwargs['step'], **args[0]} for args, kwargs in wandb.of('log')]
  assert [line['step'] for line in sent] == [line['step'] for line in lines]
  assert all(line.items() >= each.items() for line, each in zip(lines, sent, strict=True))
  assert [line['train/loss'] for line in sent if 'train/loss' in line]
  assert any('eval/top1' in line for line in sent)
  assert wandb.calls[-1][0] == 'finish'

  assert mlflow.of('set_experiment') == [(('birds',), {})]
  parameters = {}
  for (values,), _ in mlflow.of('log_params'):
    assert len(values) <= 100
    parameters |= values
  assert parameters.keys() == {key.name for key in schema.KEYS}
  assert [(args[0], kwargs['step']) for args, kwargs in mlflow.of('log_metrics')] == [
    (args[0], kwargs['step']) for args, kwargs in wandb.of('log')
  ]
  assert mlflow.calls[-1][0] == 'end_run'

  # A training that resumes goes on with its runs.
  wandb.calls.clear()
  mlflow.calls.clear()
  config.steps, config.profile.last = 6, 0
  train_and_evaluate(config, tmp_path)
  assert wandb.of('init')[0][1]['id'] == 'abc123'
  assert mlflow.of('start_run') == [((), {'run_id': 'def456'})] and not mlflow.of('log_params')
  assert {kwargs['step'] for _, kwargs in wandb.of('log')} == {6}


def profiled_steps(trace: pathlib.Path) -> set[int]:
  """The numbers of the training steps in a profile."""
  data = jax.profiler.ProfileData.from_file(str(trace))
  return {
    int(dict(event.stats)['step_num'])
    for plane in data.planes for line in plane.lines for event in line.events
    if event.name == 'train' and 'step_num' in dict(event.stats)
  }


def test_a_service_that_fails_does_not_end_a_training(config, wandb, tmp_path, heard):
  def fails(*args, **kwargs):
    raise RuntimeError('no network')

  config.trackers = ('wandb',)
  running = trackers.Trackers(config, tmp_path)
  for tracker in running._trackers.values():
    tracker._run.log = tracker._run.finish = fails
  running.write(7, 'train', {'loss': 1.0, 'names': ['not', 'a', 'number']})
  running.close()
  assert [record.message for record in heard.records] == [
    "tracker 'wandb' has no figures of step 7: no network",
    "tracker 'wandb' did not end: no network",
  ]
  sys.modules['wandb'].init = fails
  with pytest.raises(UserError, match=r"^tracker 'wandb' cannot start: no network\.$"):
    trackers.Trackers(config, tmp_path)


def test_a_tracker_of_ones_own(config, monkeypatch, tmp_path):
  class Mine:
    def __init__(self, config, workdir):
      self.file = workdir / 'mine'

    def write(self, step, figures):
      self.file.write_text(json.dumps({'step': step, **figures}))

    def close(self):
      self.file.write_text(self.file.read_text() + ' end')

  monkeypatch.setitem(trackers.TRACKERS, 'mine', Mine)
  config.trackers = ('mine',)
  trackers.check_trackers(config)
  running = trackers.Trackers(config, tmp_path)
  running.write(3, 'eval', {'top1': 0.5})
  running.close()
  assert (tmp_path / 'mine').read_text() == '{"step": 3, "eval/top1": 0.5} end'


@pytest.mark.parametrize(('names', 'text'), [
  (('wandb',), r"trackers=\('wandb',\) needs wandb \(.*\): pip install wandb"),
  (('wand',), r"unknown tracker 'wand'\. Did you mean 'wandb'\? Known: mlflow, wandb\."),
])
def test_trackers_that_are_not_there(config, monkeypatch, names, text):
  monkeypatch.setitem(sys.modules, 'wandb', None)  # an import fails
  config.trackers = names
  with pytest.raises(UserError) as error:
    trackers.check_trackers(config)
  assert re.fullmatch(text, str(error.value))


def test_a_profile_that_cannot_be(config):
  config.profile.first, config.profile.last = 10, 5
  with pytest.raises(UserError, match=r'profile.last=5 must be at least profile.first=10'):
    check_profile(config)
  config.profile.last = 0
  check_profile(config)


def test_the_devices_are_the_first_line(config, tmp_path, heard):
  train_and_evaluate(config, tmp_path)
  assert heard.records[0].message == 'devices: 8 x cpu'

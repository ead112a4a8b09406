"""python -m benchmarks twin: the networks, the PyTorch side, the file of the runs and the table."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.twin import command
from benchmarks.twin.network import Twin
from benchmarks.twin.training import Pair, TorchTraining, check, make_torch_optimizer
from configs import eca_b0, eca_resnet, smoke
from ecanet_jax import create_model
from ecanet_jax.config import schema
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.training.state import ema_decay
from tests.support.random_variables import random_variables
from tests.support.twins import compiled

NINE = (
  'b0_nose_all', 'efficientnet_b0', 'eca_efficientnet_b0', 'resnet18', 'seresnet18',
  'eca_resnet18', 'mobilenetv2_100', 'se_mobilenetv2', 'eca_mobilenetv2',
)


@pytest.mark.slow
@pytest.mark.parametrize('name', NINE)
def test_both_networks_compute_the_same(name):
  model = create_model(name, num_classes=10)
  twin, variables = Twin(name, model, 0), random_variables(model)
  twin.load(variables)
  images = np.random.default_rng(1).normal(size=(2, 32, 32, 3)).astype(np.float32)
  twin.check(np.asarray(compiled(model)(variables, images)), images)
  with pytest.raises(UserError, match='timm computes something else'):
    twin.check(np.ones((2, 10), np.float32), images)
  back = twin.variables()
  assert jnp.array_equal(back['params']['classifier']['kernel'],
                         variables['params']['classifier']['kernel'])


def test_a_network_that_timm_has_not():
  model = create_model('tiny_efficientnet', num_classes=10)
  with pytest.raises(UserError, match='timm has no tiny_efficientnet; networks made of its'):
    Twin('tiny_efficientnet', model, 0)


@pytest.mark.parametrize(('key', 'value', 'text'), [
  ('mix.mixup_alpha', 0.2, r'mix.mixup_alpha=0.2 is ours alone: set --config.mix.mixup_alpha=0.0'),
  ('model.name', 'mask_rcnn_r50_fpn', 'mask_rcnn_r50_fpn is a detector, and this program measures'),
  ('optimizer.name', 'lamb', "optimizer.name='lamb' has no twin here: sgd, rmsprop_tf, adamw"),
])
def test_what_only_we_can_do(key, value, text):
  config = schema.get_config()
  check(config)
  config.update_from_flattened_dict({key: value})
  with pytest.raises(UserError, match=text):
    check(config)


@pytest.mark.parametrize(('recipe', 'decaying'), [(eca_b0, 3), (eca_resnet, 5)])
def test_which_parameters_decay(recipe, decaying):
  module = torch.nn.Sequential(
    torch.nn.Conv2d(3, 4, 1, bias=False), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2)
  )
  decay, rest = make_torch_optimizer(recipe.get_config(), module).param_groups
  assert (len(decay['params']), len(rest['params'])) == (decaying, 5 - decaying)
  assert decay['weight_decay'] > 0 == rest['weight_decay']


def test_the_average_and_the_evaluation_of_the_pytorch_side():
  module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 2, bias=False))
  training = TorchTraining(module, torch.optim.SGD(module.parameters(), 1.0), [0.5] * 3, [0.5] * 3,
                           0.0)
  training.begin_average()
  first = module[1].weight.detach().clone()
  batch = {'image': np.full((2, 1, 1, 3), 255, np.uint8), 'label': np.array([0, 1])}
  logits = first.sum(1)
  expected = torch.nn.functional.cross_entropy(logits.expand(2, 2), torch.tensor([0, 1]))
  assert training.step(batch, 0.5) == pytest.approx(expected.item())
  last = module[1].weight.detach().clone()
  training.add_to_average(0.75)
  torch.testing.assert_close(training.average['1.weight'], 0.75 * first + 0.25 * last)
  metrics = training.evaluate([{**batch, 'mask': np.array([True, False])}])
  right = bool(torch.argmax((0.75 * first + 0.25 * last).sum(1)) == 0)
  assert (metrics['seen'], metrics['top1'], metrics['top5']) == (1, float(right), 1.0)


def test_the_averages_of_both_sides_have_one_decay():
  config = smoke.get_config()
  config.ema.decay = 0.5
  for step in (0, 3, 100):
    ours = float(ema_decay(config, jnp.int32(step)))
    assert ours == pytest.approx(min(0.5, (1 + step) / (10 + step)))


def line(seed, start, side, top1, name='resnet18'):
  return {'network': name, 'config_hash': 'x', 'seed': seed, 'start': start, 'side': side,
          'top1': top1, 'seen': 1000, 'seconds': 1.0}


def test_the_file_of_the_runs_and_a_line_that_a_kill_cut_off(tmp_path):
  path = tmp_path / 'runs.jsonl'
  assert command.read_runs(path) == []
  command._append(path, line(0, 'ours', 'ours', 0.5))
  with path.open('a') as file:
    file.write('{"network": "resn')
  assert command.read_runs(path) == [line(0, 'ours', 'ours', 0.5)]
  command._append(path, line(1, 'ours', 'ours', 0.6))
  assert [run['seed'] for run in command.read_runs(path)] == [0, 1]


def test_the_table():
  runs = [line(seed, start, side, 0.5 + 0.01 * seed - 0.1 * (start == 'timm'))
          for seed in (0, 1, 2) for start in ('ours', 'timm') for side in ('ours', 'timm')]
  rows = [row.split(' | ') for row in command.table(runs).splitlines()[2:5]]
  assert [row[1] for row in rows] == ['of ours', 'of timm', 'own']
  assert rows[0][2:5] == ['51.00 ± 1.00', '51.00 ± 1.00', '+0.00']
  assert rows[0][-1] == 'no difference seen |' and rows[2][-1] == 'better |'
  single = command.table([line(0, 'ours', side, 0.5) for side in ('ours', 'timm')])
  assert 'one seed says nothing' in single


def test_mistakes(monkeypatch, capsys, tmp_path):
  for arguments, text in (
    (['--config=smoke', '--starts=our'], "unknown start (--starts) 'our'. Did you mean 'ours'?"),
    (['--config=smoke', '--seeds=4-0'], "--seeds='4-0' has no seed"),
    (['--config=smoke', '--config.accumulate=2'], 'set --config.accumulate=1'),
  ):
    monkeypatch.setattr('sys.argv', ['benchmarks', 'twin', *arguments, f'--out={tmp_path}/x'])
    assert main() == 2
    err = capsys.readouterr().err
    assert text in err and err.count('\n') == 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_both_sides_end_at_the_same_loss_and_a_second_start_repeats_nothing(
  monkeypatch, capsys, tmp_path
):
  out = tmp_path / 'runs.jsonl'
  arguments = [
    'benchmarks', 'twin', '--config=smoke', '--models=resnet18', '--seeds=0', '--starts=timm',
    '--config.epochs=0.75', '--config.schedule.warmup_epochs=0', '--config.schedule.lr=0.05',
    '--config.data.image_size=16', f'--out={out}',
  ]
  monkeypatch.setattr('sys.argv', arguments)
  assert main() == 0
  ours, timm = (json.loads(text) for text in out.read_text().splitlines())
  assert (ours['side'], timm['side'], ours['config_hash']) == ('ours', 'timm', timm['config_hash'])
  assert ours['train_loss'] == pytest.approx(timm['train_loss'], rel=1e-4)
  assert ours['loss'] == pytest.approx(timm['loss'], rel=1e-4)
  assert '| resnet18 | of timm | ' in capsys.readouterr().out
  monkeypatch.setattr(Pair, 'train', None)
  assert main() == 0 and len(out.read_text().splitlines()) == 2

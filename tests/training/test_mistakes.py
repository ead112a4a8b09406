"""What the trainer says to mistakes: one line with the value, the rule and the nearest name."""

import pytest

from configs import smoke
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.training.trainer import Trainer


def train(workdir, *more):
  return ['train.py', '--config=configs/smoke.py', f'--workdir={workdir}', *more]


def small():
  config = smoke.get_config()
  config.epochs, config.batch_size, config.log_steps = 1.0, 32, 1
  config.tensorboard, config.data.image_size = False, 16
  return config


BAD = [
  ('model.name', 'tiny_efficientne', "unknown model 'tiny_efficientne'. Did you mean 'tiny_eff"),
  ('model.attention.kind', 'ecca', "unknown attention.kind 'ecca'. Did you mean 'eca'"),
  ('model.attention.where', 'skips', "unknown attention.where 'skips'. Did you mean 'skip'"),
  ('model.attention.position', 'start', "unknown attention.position of EfficientNet 'start'."),
  ('model.attention.k', (4,), 'attention.k=(4,): 4 is not an odd positive number'),
  ('model.attention.k', (3, 5), 'attention.k=(3, 5) has 2 kernel sizes'),
  ('model.num_classes', 7, 'model.num_classes=7 and the data set '),
  ('model.dropout', 1.5, 'dropout=1.5 must be at least 0 and below 1'),
  ('data.name', 'synthetik', "'synthetik'"),
  ('data.source', 'tfdss', "'tfdss'"),
  ('batch_size', 30, 'batch_size=30 does not divide over 8 devices; give a multiple of 8, such'),
  ('model.bn_groups', 3, 'batch of 32 does not divide by bn_groups=3'),
  ('ops.backend', 'cpux',
   "unknown ops.backend 'cpux'. Did you mean 'cpu'? Known: auto, cpu, portable, tpu, xla"),
  ('ops.backend', 'cpu', "ops.backend='cpu' is for one CPU device with a C++ compiler, and the "
   'program runs on 8 cpu device(s): set --config.ops.backend=xla.'),
  ('compute_dtype', 'float16', "unknown compute_dtype 'float16'. Did you mean 'bfloat16'"),
  ('steps', 10, 'epochs=1.0 and steps=10 are both given; give one: --config.epochs=0 --config.st'),
  ('loss.target_threshold', 1.0, 'loss.target_threshold=1.0 must be at least 0 and below 1'),
  ('loss.name', 'bc', "unknown loss.name 'bc'. Did you mean 'bce'"),
  ('loss.target_threshold', 0.2, 'loss.target_threshold=0.2 must be 0 with loss.name'),
  ('optimizer.name', 'lam', "unknown optimizer.name 'lam'. Did you mean 'lamb'"),
  ('loss.label_smoothing', 1.0, 'loss.label_smoothing=1.0 must be'),
  ('bad_steps', -1, 'bad_steps=-1 must be at least 0'),
  ('log_steps', 0, 'log_steps=0 must be at least 1'),
  ('accumulate', 3, 'batch_size=32 must be a multiple of accumulate=3 times 8 devices.'),
  ('accumulate', 8, 'batch_size=32 must be a multiple of accumulate=8 times 8 devices.'),
  ('accumulate', 0, 'accumulate=0 must be at least 1'),
  ('accumulate', 4, 'accumulate=4 must divide model.bn_groups=1: BatchNorm sees one part'),
  ('loss.class_weights', (1.0, 2.0), 'loss.class_weights has 2 factors and the data set 10 class'),
  ('loss.class_weights', (-1.0,) * 10, 'loss.class_weights: -1.0 must be at least 0'),
  ('data.size_schedule', ((0, 16), (0, 32)), 'data.size_schedule=((0, 16), (0, 32)) must be pairs'),
  ('data.size_schedule', ((0, 0),), 'data.size_schedule=((0, 0),) must be pairs (epoch, pixels)'),
  ('early_stop', -1, 'early_stop=-1 must be at least 0'),
  ('init.weights', 'no/where', 'init.weights=no/where: no/where: no such file or directory.'),
  ('eval_epochs', -1.0, 'eval_epochs=-1.0 must be at least 0'),
]


@pytest.mark.parametrize(('key', 'value', 'text'), BAD, ids=[f'{k}={v}' for k, v, _ in BAD])
def test_bad_config(tmp_path, key, value, text):
  config = small()
  config.update_from_flattened_dict({key: value})
  with pytest.raises(UserError) as error:
    Trainer(config, tmp_path / 'workdir').run()
  assert text in str(error.value) and '\n' not in str(error.value)


def test_workdirs_that_cannot_be(tmp_path):
  with pytest.raises(UserError, match=r'^workdir= must be a directory'):
    Trainer(small(), '')
  (tmp_path / 'file').touch()
  with pytest.raises(UserError, match=r'file cannot be made a directory: File exists\.$'):
    Trainer(small(), tmp_path / 'file').run()


def test_early_stop_without_evaluations(tmp_path):
  config = small()
  config.early_stop, config.eval_epochs = 2, 0.0
  with pytest.raises(UserError, match=r'^early_stop=2 .* eval_epochs=0\.0 must be above 0\.$'):
    Trainer(config, tmp_path)


@pytest.mark.parametrize(('arguments', 'text'), [
  (['--config.lr=1'], "unknown config key 'lr'. Did you mean 'schedule.lr'? ecanet_jax/c"),
  (['--config.batch_size=2.5'], 'flag --config.batch_size=2.5: invalid literal for int()'),
  (['--config=configs/smoky.py'], "no config file 'configs/smoky.py'. Did you mean 'smoke'?"),
  (['--config=configs/resnet_rsb.py:a4'], "unknown procedure of configs/resnet_rsb.py 'a4'."),
  (['--config=configs/resnet_rs.py:a1'], "no config file 'configs/resnet_rs.py'. Did you mean"),
  (['--workdr=x'], "unexpected argument '--workdr=x'. Did you mean '--workdir'?"),
  (['more'], "unexpected argument 'more'. train.py --help lists them all."),
  (['--config.epochs=None'], '--config.epochs=None: epochs must have a value; its default is --'),
  (['--noconfig.epochs'], "'--noconfig.epochs' is for keys that are true or false; write --config"),
])
def test_bad_command_line(run, tmp_path, arguments, text):
  done = run(*train(tmp_path, *arguments), code=2)
  assert text in done.stderr and done.stderr.startswith('error: ')
  assert done.stderr.count('\n') == 1

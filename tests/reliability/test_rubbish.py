"""Wrong configs and wrong command lines: one line, status 2, no traceback, nothing written."""

import pytest

from ecanet_jax.cli.config import load_config
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.training.trainer import Trainer

VALUES = (
  'epochs=-1', 'epochs=nan', 'batch_size=0', 'batch_size=-64', 'seed=-1', 'keep_checkpoints=0',
  'watchdog_seconds=-1', 'bad_steps=-1', 'save_epochs=-0.5', 'model.num_classes=1',
  'data.image_size=0',
  'data.area=(0.0,1.0)', 'data.area=(0.9,0.1)', 'data.aspect=(1.0,)', 'data.crop_fraction=0.0',
  'data.crop_fraction=1.5', 'data.std=(0.0,1.0,1.0)', 'data.mean=(0.5,0.5)', 'data.max_bad=2.0',
  'data.train_split=train[:0]', 'data.eval_split=tset', 'data.crop=centre',
  'data.interpolation=cubic', 'schedule.name=cosin', 'schedule.lr=-1.0', 'schedule.lr=nan',
  'schedule.warmup_epochs=99.0', 'optimizer.name=sgdd', 'optimizer.weight_decay=-1.0',
  'optimizer.momentum=-0.1', 'ema.decay=1.5',
)
FILES = {
  'syntax': 'def get_config(:\n', 'nothing': '', 'other name': 'def config():\n  return {}\n',
  'raises': 'def get_config():\n  raise RuntimeError("no")\n',
  'imports': 'import no_such_module\n\n\ndef get_config():\n  pass\n',
  'none': 'def get_config():\n  return None\n',
  'zero': 'def get_config():\n  return 1 / 0\n',
  'unknown key': 'from configs import smoke\n\n\ndef get_config():\n  config = smoke.get_config()\n'
                 '  config.lr = 1\n  return config\n',
}
LINES = (
  '', '--config=configs/smoke.py', '--workdir=W', '--config=configs/smok.py --workdir=W',
  '--config=configs --workdir=W', '--config= --workdir=W', '--config=configs/smoke.py --workdir=',
  '--config=README.md --workdir=W', '--config=configs/smoke.py --workdir=W extra',
  '--config=configs/smoke.py --workdir=W --workdr=x', '--config=configs/smoke.py --workdir=W -x',
  '--config=configs/smoke.py --workdir=W --config.lr=1',
  '--config=configs/smoke.py --workdir=W --config.batch_size=two',
  '--config=configs/smoke.py --workdir=W --config.batch_size=2.5',
  '--config=configs/smoke.py --workdir=W --config.epochs=many',
  '--config=configs/smoke.py --workdir=W --config.data.mean=grey',
  '--config=configs/smoke.py --workdir=W --config.data.flip=perhaps',
  '--config=configs/smoke.py --workdir=W --config.model.nam=x',
  '--config=configs/smoke.py --workdir=W --config.model=x',
  '--config=configs/smoke.py --workdir=W --config.=x',
  '--config=configs/smoke.py --workdir=W --config.data.area=(0.1',
  '--config=configs/smoke.py --workdir=W --num_processes=two',
  '--config=configs/smoke.py --workdir=W --coordinator=nowhere',
  '--config=configs/smoke.py --workdir=W --coordinator=h:1 --num_processes=2 --process_id=2',
  '--config=configs/smoke.py --workdir=W --coordinator=h:1 --process_id=-1',
  '--config=configs/smoke.py:x:y --workdir=W', '--config=configs/transfer.py:carz --workdir=W',
  '--config=configs/smoke.py --workdir=W --config.optimizer.nesterov=2',
  '--config=configs/smoke.py --workdir=W --config.size=big', '--config --workdir',
  '--config=configs/smoke.py --workdir=s3://bucket/x',
  '--config=configs/smoke.py --workdir=README.md', '--config=configs/smoke.py --workdir=/proc/x',
)


@pytest.mark.parametrize('value', VALUES)
def test_wrong_values(tmp_path, value):
  workdir = tmp_path / 'workdir'
  small = ('--config.data.image_size=16', '--config.epochs=1', '--config.schedule.warmup_epochs=0')
  with pytest.raises(UserError) as error:
    Trainer(load_config('configs/smoke.py', (*small, f'--config.{value}')), workdir).run()
  assert '\n' not in str(error.value) and not workdir.exists()
  assert value.partition('=')[0].split('.')[-1] in str(error.value)


@pytest.mark.parametrize('name', FILES)
def test_wrong_files(tmp_path, name):
  file = tmp_path / 'config.py'
  file.write_text(FILES[name])
  with pytest.raises(UserError) as error:
    load_config(str(file))
  assert '\n' not in str(error.value) and str(error.value).strip()


@pytest.mark.slow
def test_wrong_command_lines(run, tmp_path):
  wrong = []
  for line in LINES:
    arguments = [word.replace('=W', f'={tmp_path / "workdir"}') for word in line.split()]
    done = run('train.py', *arguments, code=None)
    errors = done.stderr.splitlines()
    one_line = len(errors) == 1 and errors[0].startswith('error: ') and len(errors[0]) > 10
    if done.returncode != 2 or not one_line or done.stdout or (tmp_path / 'workdir').exists():
      wrong.append((line, done.returncode, done.stdout, done.stderr[-1500:]))
  print(f'{len(LINES)} command lines')
  assert not wrong, '\n'.join(map(str, wrong))

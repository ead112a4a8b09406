"""Whole programs on data that are broken, and without a network."""

import itertools

import numpy as np
import pytest
from PIL import Image

from tests.support.image_folders import write_jpeg_folder
from tests.support.prepare import run_prepare
from tests.support.runs import losses

pytestmark = pytest.mark.slow

OFFLINE = ('-m', 'tests.support.offline')
SMALL = (
  '--config=configs/smoke.py', '--config.data.image_size=16', '--config.epochs=1',
  '--config.data.crop_fraction=1.0', '--config.tensorboard=False', '--config.log_steps=1',
  '--config.schedule.warmup_epochs=0',
)


def test_three_of_500_images(run, tmp_path):
  write_jpeg_folder(tmp_path / 'set', 500, corrupt=(17, 211, 430))
  flags = (
    *SMALL, '--config.data.source=folder', f'--config.data.data_dir={tmp_path / "set"}',
    '--config.data.eval_split=val', '--config.model.num_classes=2', '--config.batch_size=50',
  )
  refused = run('train.py', *flags, f'--workdir={tmp_path / "none"}', code=2)
  assert '3 of 500 files cannot be read as images: ' in refused.stderr
  assert not (tmp_path / 'none').exists()
  flags = (*flags, '--config.data.max_bad=0.01')
  done = run('train.py', *flags, f'--workdir={tmp_path / "one"}')
  (line,) = [x for x in done.stderr.splitlines() if 'training images could not be decoded' in x]
  print(line)
  assert '3 of 500 training images could not be decoded and were replaced by others: ' in line
  assert all(name in line for name in ('0017.jpg', '0211.jpg', '0430.jpg'))
  run('train.py', *flags, f'--workdir={tmp_path / "two"}', devices=2)
  one, two = losses(tmp_path / 'one'), losses(tmp_path / 'two')
  np.testing.assert_allclose(list(one.values()), list(two.values()), rtol=1e-5)
  evaluation = [*flags, '--config.data.eval_split=train', f'--workdir={tmp_path / "one"}']
  refused = run('eval.py', *evaluation, code=2)
  print(refused.stderr)
  assert '.jpg: the image cannot be decoded: ' in refused.stderr and not refused.stdout


@pytest.mark.parametrize('source', ['memory', 'folder', 'tfds'])
def test_nothing_but_prepare_uses_the_network(run, tmp_path, source):
  flags = [*SMALL]
  if source == 'folder':
    for number, (split, name) in enumerate(itertools.product(('train', 'val'), 'ab')):
      for copy in range(64):
        path = tmp_path / 'set' / split / name / f'{copy}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (20, 20), (60 * number, copy, 0)).save(path)
    flags += ['--config.data.eval_split=val', '--config.model.num_classes=2',
              '--config.data.source=folder', f'--config.data.data_dir={tmp_path / "set"}']
  if source == 'tfds':
    run_prepare('--dataset=digits', f'--data_dir={tmp_path / "set"}')
    flags += ['--config.data.source=tfds', '--config.data.name=digits',
              f'--config.data.data_dir={tmp_path / "set"}']
  workdir = f'--workdir={tmp_path / "run"}'
  trained = run(*OFFLINE, 'train.py', *flags, workdir)
  evaluated = run(*OFFLINE, 'eval.py', *flags, workdir)
  converted = run(*OFFLINE, 'ecanet_jax', 'convert', str(tmp_path / 'run'),
                  str(tmp_path / 'exported'))
  assert (tmp_path / 'exported' / 'model.safetensors').exists()
  assert 'result: ' in trained.stdout
  assert all('NETWORK' not in done.stderr for done in (trained, evaluated, converted))


def test_the_block_blocks(run, tmp_path):
  (tmp_path / 'x.py').write_text(
    'import urllib.request\nurllib.request.urlopen("http://127.0.0.1:1")\n'
  )
  done = run(*OFFLINE, str(tmp_path / 'x.py'), code=1)
  assert 'NETWORK' in done.stderr

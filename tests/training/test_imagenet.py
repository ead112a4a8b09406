"""TFDS's real imagenet2012 builder on generated archives, through the recipe that ImageNet uses."""

import json

from tests.data.imagenet_tars import write_ilsvrc2012_tars


def test_prepares_trains_and_evaluates(run, tmp_path):
  write_ilsvrc2012_tars(tmp_path / 'tars', train_per_class=6, val_count=11, seed=0)
  prepared = run(
    '-m', 'ecanet_jax', 'prepare', '--dataset=imagenet2012', f'--data_dir={tmp_path}/data',
    f'--manual_dir={tmp_path}/tars',
  )
  assert 'imagenet2012 validation: 11 images' in prepared.stdout
  sizes = [
    f'--config.data.data_dir={tmp_path}/data', '--config.data.image_size=32',
    '--config.batch_size=4', '--config.epochs=1', '--config.schedule.warmup_epochs=0.5',
    '--config.model.name=tiny_efficientnet', '--config.compute_dtype=float32',
  ]
  trained = run('train.py', '--config=configs/eca_b0.py', f'--workdir={tmp_path}/run', *sizes)
  assert '11 of 11 images of validation' in trained.stdout
  evaluated = run('eval.py', '--config=configs/eca_b0.py', f'--workdir={tmp_path}/run', *sizes)
  line, figures = evaluated.stdout.splitlines()
  assert json.loads(figures)['seen'] == 11
  assert line.split(' on ')[0] == trained.stdout.removeprefix('result: ').split(' on ')[0]


def test_missing_data_names_the_command(run, tmp_path):
  done = run(
    'train.py', '--config=configs/eca_b0.py', f'--workdir={tmp_path}/run',
    f'--config.data.data_dir={tmp_path}/nothing', code=2,
  )
  assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1
  command = 'python -m ecanet_jax prepare --dataset=imagenet2012 --data_dir='
  assert command in done.stderr and 'ILSVRC2012_img_train.tar' in done.stderr

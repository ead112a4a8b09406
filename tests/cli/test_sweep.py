"""The command sweep: what it refuses, what it leaves, and that kills change nothing."""

import fcntl
import json
import logging
import pathlib
import re
import shlex
import signal
import statistics
import time

import numpy as np
import pytest

from ecanet_jax import cli
from ecanet_jax.analysis.curves import smoothed
from ecanet_jax.cli.sweep import definition, results
from ecanet_jax.cli.sweep.definition import Run, Sweep
from ecanet_jax.cli.sweep.picture import draw_variants
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.tasks.task import Metric
from tests import check_sweep
from tests.support import programs

KIND = 'model.attention.kind'
SMALL = (
  '--config=configs/smoke.py', '--config.data.image_size=16', '--config.batch_size=32',
  '--config.tensorboard=False',
)


@pytest.fixture(autouse=True)
def _log_as_it_was():
  log = logging.getLogger('ecanet_jax')
  before = log.handlers, log.propagate, log.level
  yield
  log.handlers, log.propagate = before[:2]
  log.setLevel(before[2])


def sweep(workdir, *arguments):
  return cli.main(['sweep', *SMALL, f'--workdir={workdir}', *arguments])


def refused(capsys, workdir, *arguments):
  """The one line that a sweep is refused with."""
  assert sweep(workdir, *arguments) == 2
  captured = capsys.readouterr()
  assert captured.err.startswith('error: ') and captured.err.count('\n') == 1
  assert not captured.out
  return captured.err


@pytest.mark.parametrize(('arguments', 'text'), [
  (['--vary=model.atention.kind=se'], "'model.atention.kind'. Did you mean 'model.attention.kind'"),
  ([f'--vary={KIND}='], f"--vary='{KIND}=' has no values; write KEY=VALUE,VALUE."),
  ([f'--vary={KIND}'], f"--vary='{KIND}' has no values"),
  ([f'--vary={KIND}=se,'], f"--vary='{KIND}=se,' has an empty value"),
  ([f'--vary={KIND}=se,eca,se'], f"--vary={KIND} has 'se' twice."),
  ([f'--vary={KIND}=se', f'--vary={KIND}=eca'], '--vary has a key twice'),
  ([f'--vary={KIND}=se,ecca'], "unknown attention.kind 'ecca'. Did you mean 'eca'?"),
  (['--vary=log_steps=1,x'], 'invalid literal for int()'),
  (['--vary=schedule.lr=0.4,0.40'], "'lr=0.4' and 'lr=0.40' are the same training."),
  (['--vary=seed=0,1'], 'give --seeds=0,1,2'),
  (['--config.seed=1'], 'give --seeds=0,1,2'),
  (['--vary=log_steps=1,2', '--config.log_steps=3'], 'by --vary and by --config.log_steps'),
  (['--seeds=0,1,0'], '--seeds has 0 twice.'),
  (['--seeds='], "--seeds='' are not whole numbers"),
  (['--seeds=-1'], '--seeds: -1 must be at least 0'),
  (['--config=configs/smoky.py'], "no config file 'configs/smoky.py'. Did you mean 'smoke'?"),
  (['--config=configs/smoke.py'], '--config=configs/smoke.py is given twice.'),
  (['--config.epochs'], "'--config.epochs' has no value"),
  (['--config.epoch=1'], "unknown config key 'epoch'. Did you mean 'epochs'?"),
  (['--sead=1'], "unexpected argument '--sead=1'. Did you mean '--seeds'?"),
  (['--jobs=0'], '--jobs=0 must be at least 1.'),
  (['--smooth=2'], '--smooth=2 must be odd.'),
])
def test_bad_input(capsys, tmp_path, arguments, text):
  assert text in refused(capsys, tmp_path / 'sweep', *arguments)
  assert not (tmp_path / 'sweep').exists()


def test_directories_that_are_taken(capsys, tmp_path, monkeypatch):
  monkeypatch.setattr('ecanet_jax.cli.sweep.definition._LOCK_SECONDS', 0)
  training = tmp_path / 'training'
  (training / 'checkpoints').mkdir(parents=True)
  assert f'{training} has a training, not a sweep' in refused(capsys, training)
  (tmp_path / 'file').touch()
  assert f'--workdir={tmp_path}/file: File exists.' in refused(capsys, tmp_path / 'file')
  busy = tmp_path / 'busy'
  busy.mkdir()
  with (busy / 'lock').open('w') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert f'a sweep is running in {busy}.' in refused(capsys, busy)
  assert not (busy / 'sweep.json').exists()


@pytest.mark.slow
def test_one_run_succeeds_and_one_fails(capsys, tmp_path, monkeypatch):
  monkeypatch.setenv('XLA_FLAGS', programs.QUICK)  # one device
  workdir = tmp_path / 'sweep'
  command = ('--vary=data.name=synthetic,synthetik', '--config.epochs=0.25',
             '--config.schedule.warmup_epochs=0', '--jobs=2')
  assert sweep(workdir, *command) == 1
  out, err = capsys.readouterr()
  rows = [line for line in out.splitlines() if line.startswith('| name=')]
  assert len(rows) == 1 and rows[0].startswith('| name=synthetic | ')
  assert ' | 1 | 8,430 | 128 | ' in rows[0]
  assert 'FAILED: name=synthetik seed 0: status 2: unknown set in memory (data.name)' in out
  assert re.search(r'name=synthetic seed 0 is finished; \d of 2, about 0:\d\d:\d\d left', err)
  assert 'name=synthetik seed 0 FAILED, status 2' in err
  assert (workdir / 'table.md').read_text() == out
  for name in ('top1_by_images.png', 'top1_by_time.png', 'top1_by_variant.png'):
    assert (workdir / name).read_bytes().startswith(b'\x89PNG')
  done = json.loads((workdir / 'name=synthetic' / 'seed_0' / 'done.json').read_text())
  assert done['step'] == 4 and done['seen'] == 200 and done['device'] == '1 x cpu'

  text = refused(capsys, workdir, *command, '--config.batch_size=64')
  assert text.endswith(f'{workdir} has another sweep: config.configs/smoke.py.batch_size is 32 '
                       'there and 64 here; give another --workdir.\n')
  text = refused(capsys, workdir, '--vary=data.name=synthetic', *command[1:])
  assert 'vary.data.name is synthetic,synthetik there and synthetic here;' in text
  text = refused(capsys, workdir, *command, '--seeds=1')
  assert 'seeds is 0 there and 1 here;' in text
  assert (workdir / 'table.md').read_text() == out


def test_a_record_of_an_older_version_without_some_keys_is_the_same_sweep(tmp_path):
  made = definition.define(['configs/smoke.py'], [], '0', [])
  older = json.loads(json.dumps(made.record))
  del older['config']['configs/smoke.py']['data']['eval_share']
  (tmp_path / definition.RECORD).write_text(json.dumps(older))
  with definition.enter(made, tmp_path):
    pass
  older['config']['configs/smoke.py']['batch_size'] = 7
  (tmp_path / definition.RECORD).write_text(json.dumps(older))
  with pytest.raises(UserError, match='batch_size is 7 there'), definition.enter(made, tmp_path):
    pass
  (tmp_path / definition.RECORD).write_text('[]')
  with pytest.raises(UserError, match='not the record of'), definition.enter(made, tmp_path):
    pass


def test_seeds_may_be_added(tmp_path):
  few, more, other = (
    definition.define(['configs/smoke.py'], [], seeds, []) for seeds in ('0,1', '0-3', '1-4'))
  for sweep_there in (few, more):
    with definition.enter(sweep_there, tmp_path):
      pass
    assert json.loads((tmp_path / definition.RECORD).read_text()) == sweep_there.record
  for refused_there, seeds in ((few, '0,1'), (other, '1,2,3,4')):
    match = f'seeds is 0,1,2,3 there and {seeds} here'
    with pytest.raises(UserError, match=match), definition.enter(refused_there, tmp_path):
      pass


def write_run(folder, top1, seconds):
  folder.mkdir(parents=True)
  lines = []
  for step, (value, took) in enumerate(zip(top1, seconds, strict=True), start=1):
    lines += [{'step': step, 'train/seconds': took}, {'step': step, 'eval/top1': value}]
  (folder / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
  done = {'step': len(top1), 'top1': top1[-1], 'top5': 1.0, 'loss': 0.5, 'seen': 200}
  (folder / 'done.json').write_text(json.dumps({**done, 'device': '1 x cpu'}))


def test_results(tmp_path, monkeypatch):
  runs = tuple(
    Run(f'kind={kind}', seed, f'kind={kind}/seed_{seed}', (), ('epochs', 1.0), 32)
    for kind in ('se', 'eca') for seed in (0, 1, 2)
  )
  top1 = dict(zip(runs, (0.5, 0.6, 0.7, 0.8, 0.8, 0.9), strict=True))
  failed = {runs[-1]: 'killed by SIGKILL'}
  for run in runs[:-1]:
    write_run(tmp_path / run.folder, (0.1, top1[run]), (2.0, 1.0 + run.seed))
  config = {'model': {'name': 'resnet18'}, 'data': {'source': 'tfds', 'name': 'digits'}}
  record = {'config': {'a.py': config}, 'vary': {'model.attention.kind': ['se', 'eca']}}
  assert results.title(record) == 'resnet18 on digits'
  assert results.title({**record, 'vary': {'model.name': ['a', 'b']}}) == 'a, b on digits'
  assert results.title({**record, 'vary': {'model.name': [*'abcd']}}) == '4 networks on digits'
  sweep = Sweep(runs, {'kind=se': 1234, 'kind=eca': 999}, record)
  drawn = []
  monkeypatch.setattr(paths, 'write_figure', lambda path, figure, **_: drawn.append(
    (path.name, figure.get_suptitle().splitlines()[0])
  ))
  table = results.write(sweep, tmp_path, failed, 'the command', 3)
  assert drawn == [
    (f'top1_by_{name}.png', 'resnet18 on digits') for name in ('images', 'time', 'variant')
  ]
  se, eca = (line for line in table.splitlines() if line.startswith('| kind='))
  assert se == (
    '| kind=se | 60.00 ± 10.00 | 100.00 ± 0.00 | 0.5000 ± 0.0000 | 3 | 1,234 | 64 | 4.0 ± 1.0 |'
  )
  assert eca.startswith('| kind=eca | 80.00 ± 0.00 | ') and ' | 2 | 999 | 64 | 3.5 ± 0.7 |' in eca
  assert 'FAILED: kind=eca seed 2: killed by SIGKILL' in table
  assert '```bash\nthe command\n```\n' in table
  report = json.loads((tmp_path / 'results.json').read_text())
  assert report['variants'][0]['top1']['std'] == statistics.stdev((0.5, 0.6, 0.7))
  assert report['runs'][1]['curve'] == {
    'images': [32, 64], 'seconds': [2.0, 4.0], 'top1': [0.1, 0.6]
  }
  (compared,) = report['comparisons']
  assert (compared['variant'], compared['reference'], compared['n']) == ('kind=eca', 'kind=se', 2)
  assert compared['mean'] == pytest.approx(0.25) and compared['verdict'] == 'no difference seen'
  assert '| *kind=eca* | +25.00 | -38.53 to +88.53 | +20.00 to +30.00 | 0.126 | ' in table
  assert '| 2 | no difference seen |' in table and '| top-1 against kind=se | ' in table
  write_run(tmp_path / runs[-1].folder, (0.1, 0.9), (2.0, 1.0))
  assert 'FAILED' not in results.write(sweep, tmp_path, {}, 'the command', 1)


def test_the_picture_of_variants(tmp_path, monkeypatch):
  drawn = []
  monkeypatch.setattr(paths, 'write_figure', lambda path, figure, **_: drawn.append(figure))
  values = {'k=3': [0.5, 0.7], 'k=5': [0.8]}
  draw_variants(values, tmp_path / 'a.png', Metric('top1', 'top-1', 100, '%'), 'digits')
  (axes,) = drawn[0].axes
  assert [label.get_text() for label in axes.get_yticklabels()] == ['k=3  (n = 2)', 'k=5  (n = 1)']
  assert axes.get_xlabel() == 'top-1, %' and axes.get_ylim() == (1.5, -0.5)
  seeds, mean = axes.lines[:2]
  assert list(seeds.get_xdata()) == [50, 70] and list(mean.get_xdata()) == [60]
  (interval,) = axes.containers[0][2]  # t of one degree of freedom is 12.706
  ends = interval.get_segments()[0][:, 0]
  np.testing.assert_allclose(ends, [60 - 127.06, 60 + 127.06], atol=0.01)


def test_smoothing_keeps_lines_and_the_last_value():
  line = np.array([0.0, 1, 2, 3, 4, 5, 6])
  np.testing.assert_allclose(smoothed(line, 5), line)
  rough = np.array([0.0, 3, 0, 3, 9])
  np.testing.assert_allclose(smoothed(rough, 3), [0, 1, 2, 4, 9])
  np.testing.assert_array_equal(smoothed(rough, 1), rough)


SHORT = (*SMALL, '--config.epochs=8', '--config.log_steps=1', '--config.eval_epochs=1',
         '--config.save_epochs=1')


@pytest.mark.slow
def test_every_run_killed_once(tmp_path, capsys):
  arguments = [*SHORT, f'--vary={KIND}=none,eca', '--seeds=0,1']
  assert check_sweep.main(tmp_path, arguments) == 0
  assert '4 of 4 runs were killed; all results are the same' in capsys.readouterr().out
  table = (tmp_path / 'killed' / 'table.md').read_text()
  assert sum(line.startswith('| kind=') and ' | 2 | ' in line for line in table.splitlines()) == 2


@pytest.mark.slow
def test_runs_end_with_the_sweep(start, tmp_path):
  arguments = ('-m', 'ecanet_jax', 'sweep', *SHORT, f'--workdir={tmp_path}')
  log = tmp_path / 'smoke' / 'seed_0' / 'metrics.jsonl'
  process = start(*arguments)
  deadline = time.monotonic() + programs.TIMEOUT
  while not log.exists() or 'eval/top1' not in log.read_text():
    assert process.poll() is None and time.monotonic() < deadline
    time.sleep(0.05)
  process.send_signal(signal.SIGKILL)
  _, err = process.communicate()
  child = pathlib.Path('/proc', re.search(r'process (\d+):', err)[1])
  while child.exists() and str(tmp_path) in (child / 'cmdline').read_text():
    assert time.monotonic() < deadline
    time.sleep(0.05)
  process = start(*arguments)
  out, err = process.communicate(timeout=programs.TIMEOUT)
  assert process.returncode == 0 and 'goes on after step' in err
  assert '| smoke | ' in out
  again = start(*arguments)
  assert programs.finish(again).stdout.splitlines()[:3] == out.splitlines()[:3]
  log_text = (log.parent / 'log.txt').read_text()
  assert log_text.count('result: ') == 1 and 'nothing to do' not in log_text


@pytest.mark.slow
@pytest.mark.parametrize('command', re.findall(
  r'^python -m ecanet_jax sweep (.*)$',
  (programs.ROOT / 'docs' / 'ablations.md').read_text().replace('\\\n', ''), re.MULTILINE,
))
def test_commands_of_the_page(command, tmp_path, monkeypatch):
  monkeypatch.setattr('ecanet_jax.cli.sweep.process.train', lambda *_: {})
  monkeypatch.setattr('ecanet_jax.cli.sweep.results.write', lambda *_: '')
  arguments = [text for text in shlex.split(command) if not text.startswith('--workdir=')]
  assert cli.main(['sweep', *arguments, f'--workdir={tmp_path}/sweep']) == 0

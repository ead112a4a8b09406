"""python -m benchmarks: figures of tiny networks, tables, pictures, and mistakes."""

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import time

import pytest

from benchmarks import command, machine, match, profile, roofline, side_process, table
from benchmarks.__main__ import main
from ecanet_jax import cli
from ecanet_jax.runtime.errors import UserError
from tests.support import programs

SETTING = {'mode': 'inference', 'batch_size': 2, 'image_size': 32, 'dtype': 'float32', 'threads': 0}
OURS = match.Entry('ecanet_jax', 'ours', 'tiny_efficientnet')
TIMM = match.Entry('timm', 'timm', 'resnet18')


def parse(*flags):
  parser = argparse.ArgumentParser()
  command.add_arguments(parser)
  return parser.parse_args(flags)


def bench(*flags):
  return subprocess.run(
    [sys.executable, '-m', 'benchmarks', '--rounds=2', *flags],
    capture_output=True, text=True, timeout=500, cwd=programs.ROOT, stdin=subprocess.DEVNULL,
  )


@pytest.mark.slow
def test_measures_ours_with_all_outputs(tmp_path):
  figures, picture = tmp_path / 'figures.json', tmp_path / 'bars.png'
  done = bench(
    '--model=tiny_efficientnet', '--image_size=32', '--batch_size=1,2', '--side=ours', '--memory',
    '--profile', f'--json={figures}', f'--png={picture}',
  )
  assert done.returncode == 0, done.stderr
  assert done.stderr == ''
  for text in ('images/s', 'MB/image by the model', "XLA's temporaries", 'depthwise convolution'):
    assert text in done.stdout
  assert picture.read_bytes().startswith(b'\x89PNG')
  report = json.loads(figures.read_text())
  assert len(report['matches']) == 4 and report['bandwidth'] > 1e8
  for each in report['matches']:
    (entry,) = each['entries'].values()
    assert len(entry['images_per_second']) == 2 and min(entry['images_per_second']) > 0
    assert entry['roofline']['bytes_per_second'] > 0
    assert sum(entry['profile']['classes'].values()) > 0
    assert ('memory' in entry) == (each['setting']['mode'] == 'train')


@pytest.mark.slow
def test_measures_against_timm(tmp_path):
  figures = tmp_path / 'figures.json'
  done = bench('--model=resnet18', '--image_size=32', '--batch_size=2', '--mode=train',
                 '--memory', f'--json={figures}')
  assert done.returncode == 0, done.stderr
  assert 'tensors that autograd saves' in done.stdout
  (only,) = json.loads(figures.read_text())['matches']
  assert list(only['entries']) == ['ecanet_jax', 'timm']
  assert all(entry['idle_cpu_seconds'] < 0.1 for entry in only['entries'].values())


@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_noticed_before_it_is_made():
  setting = {**SETTING, 'model': 'tiny_efficientnet', 'batch_size': 30_000_000}
  with (
    pytest.raises(side_process.OutOfMemory, match=r'the program needs .* GiB'),
    side_process.start('ours', 'ecanet_jax', setting),
  ):
    pass


def test_the_old_command_names_this_one(capsys):
  assert cli.main(['bench', '--input']) == 2
  assert capsys.readouterr().err == (
    "error: 'bench' is not in the package: run python -m benchmarks in a checkout of the "
    'repository.\n'
  )


def test_a_mistake_is_one_line_and_status_2(capsys, monkeypatch):
  monkeypatch.setattr(sys, 'argv', ['benchmarks', '--side=our'])
  assert main() == 2
  err = capsys.readouterr().err
  assert err.startswith('error: ') and err.count('\n') == 1


@pytest.mark.parametrize('flag, message', [
  ('--model=eficientnet_b0', "Did you mean 'efficientnet_b0'"),
  ('--model=resnet50,mask_rcnn_r50_fpn', 'mask_rcnn_r50_fpn is a detector, and this program'),
  ('--mode=inference,trian', "Did you mean 'train'"),
  ('--dtype=bfloat61', "Did you mean 'bfloat16'"),
  ('--side=our', "Did you mean 'ours'"),
  ('--rounds=0', 'rounds=0 must be at least 1'),
  ('--batch_size=0', 'batch_size=0 must be at least 1'),
  ('--batch_size=4,x', 'batch_size=4,x must be numbers'),
  ('--threads=100000', 'threads=100000 must be'),
  ('--json=/no/such/folder/file', 'does not exist'),
  ('--png=/', 'is a folder'),
  ('--memory --mode=inference', 'must name train'),
  ('--profile --side=timm', 'must name ours'),
  ('--compiled --side=ours', 'must name timm'),
  ('--attention --model=resnet50', 'leave --model out'),
])
def test_a_wrong_flag_is_told_before_anything_starts(flag, message, monkeypatch):
  monkeypatch.setattr(side_process, 'start', lambda *_: pytest.fail('started a process'))
  with pytest.raises(UserError, match=message):
    command.run(parse(*flag.split()))


def figures(entries, setting, rounds, memory, profiled):
  """What `match.play` returns, without measuring."""
  speeds = {'ours': [10.0, 30.0, 20.0], 'timm': [20.0] * 3, 'compiled': [40.0] * 3}
  return {
    'setting': {**setting, 'rounds': rounds}, 'versions': {'jax': '1'}, 'notes': [],
    'entries': {
      entry.label: {
        'side': entry.side, 'model': entry.model, 'device': 'CPU',
        'images_per_second': speeds[entry.side],
      } for entry in entries
    },
  }


@pytest.fixture
def fake(monkeypatch):
  monkeypatch.setattr(command, 'play', figures)
  monkeypatch.setattr(command, '_bandwidth', lambda setting: 1e10)
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: name)


def test_the_ratio_is_of_neighbouring_turns(fake, capsys):
  assert command.run(parse('--mode=train', '--rounds=3', '--compiled')) == 0
  (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith('effi'))
  assert re.split(' {2,}', row) == [
    'efficientnet_b0', '16', 'train', '20.0 (10.0-30.0)', '20.0 (20.0-20.0)', '40.0 (40.0-40.0)',
    '1.00 (0.50-1.50)', '0.50 (0.25-0.75)', '- / - / -', '-',
  ]


def test_hardware_versions_and_date_are_in_every_output(fake, capsys, tmp_path):
  target, picture = tmp_path / 'a.json', tmp_path / 'a.png'
  flags = ('--model=resnet18,resnet34', '--batch_size=1,2', f'--json={target}', f'--png={picture}')
  assert command.run(parse(*flags)) == 0
  report, out = json.loads(target.read_text()), capsys.readouterr().out
  for text in (report['machine']['cpu'], report['machine']['date'], 'jax 1', '10.0 GB/s'):
    assert text in out
  assert len(report['matches']) == 8 and report['versions']['jax'] == '1'
  assert picture.read_bytes().startswith(b'\x89PNG')


def test_attention_is_compared_with_none(fake, capsys, monkeypatch):
  tiny = {'Tiny': {'none': 'tiny_mobilenetv2', 'ECA': 'tiny_efficientnet'}}
  monkeypatch.setattr(command, 'FAMILIES', tiny)
  assert command.run(parse('--attention', '--side=ours', '--image_size=32')) == 0
  (_, row) = (line for line in capsys.readouterr().out.splitlines() if line.startswith('Tiny '))
  assert re.split(' {2,}', row)[:3] == ['Tiny', 'ECA', 'ecanet_jax']
  assert re.split(' {2,}', row)[-4:] == ['20.0 (10.0-30.0)', '1.00 (1.00-1.00)'] * 2


def test_every_network_of_the_attention_table_exists():
  for kinds in command.FAMILIES.values():
    assert list(kinds) == ['none', 'SE', 'ECA']
    for name in kinds.values():
      command.network(name)


def test_says_when_timm_is_not_installed(fake, monkeypatch, capsys):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  assert command.run(parse()) == 0
  assert 'torch and timm not installed: no timm side. To compare: pip install' in (
    capsys.readouterr().out
  )
  with pytest.raises(UserError, match='nothing can be measured'):
    command.run(parse('--side=timm'))


def test_says_when_timm_has_no_such_network(fake, capsys):
  assert command.run(parse('--model=tiny_efficientnet')) == 0
  assert 'timm has no tiny_efficientnet: not on its side.' in capsys.readouterr().out


class Stand:
  """Stands for a process: a speed, a memory that ends at a batch size, and a failure."""

  largest, fails = 8, False

  def __init__(self, side, label, setting, variables=side_process.NO_VARIABLES):
    self.seconds = 0.5 if side == 'ours' else 0.25 if variables else 1.0
    self.setting, self.ready = setting, {'device': 'CPU', 'start_seconds': 1.0, 'versions': {}}

  def __enter__(self):
    if self.setting['batch_size'] > self.largest:
      raise side_process.OutOfMemory('too small')
    return self

  def __exit__(self, *_):
    return None

  def ask(self, do, calls=1):
    if self.fails:
      raise side_process.SideError('broken.')
    return {'seconds': self.seconds * calls}

  def cpu_seconds(self):
    return 1.0

  end = __exit__


def test_the_peer_waits_as_is_faster(monkeypatch):
  monkeypatch.setattr(side_process, 'start', Stand)
  for name in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT'):
    monkeypatch.delenv(name, raising=False)
  entries = match.play([OURS, TIMM], SETTING, 2)['entries']
  assert entries['timm']['wait'] == 'passive' and 'wait' not in entries['ecanet_jax']
  assert entries['timm']['images_per_second'] == [8.0, 8.0]
  monkeypatch.setenv('OMP_WAIT_POLICY', 'active')
  entries = match.play([TIMM], SETTING, 2)['entries']
  assert entries['timm']['images_per_second'] == [2.0, 2.0]


@pytest.mark.parametrize('batch, fits', [(64, 8), (9, 8), (16, 8), (1000, 8)])
def test_the_largest_batch_is_found_by_trying(batch, fits, monkeypatch):
  monkeypatch.setattr(side_process, 'start', Stand)
  result = match.play([OURS], {**SETTING, 'batch_size': batch}, 1)
  assert not result['entries']
  assert result['notes'] == [
    f'tiny_efficientnet of ecanet_jax, inference, batch {batch}: too little memory; '
    f'the largest power of two that fits is {fits} (too small)'
  ]


def test_a_side_that_fails_is_told_and_the_other_measured(monkeypatch):
  monkeypatch.setattr(side_process, 'start', Stand)
  monkeypatch.setattr(Stand, 'fails', True)
  result = match.play([OURS], SETTING, 1)
  assert result['notes'] == [
    'tiny_efficientnet of ecanet_jax, inference, batch 2: not measured, broken.'
  ]


def test_nothing_measured_is_an_error(fake, monkeypatch):
  empty = lambda *_: {'setting': SETTING, 'entries': {}, 'versions': {}, 'notes': ['why']}
  monkeypatch.setattr(command, 'play', empty)
  with pytest.raises(UserError, match='nothing was measured'):
    command.run(parse())


def test_an_idle_process_is_stopped_and_a_failure_is_one_line(monkeypatch):
  """A worker of the bandwidth's side is quick to start."""
  monkeypatch.setattr(roofline, '_CPU_BYTES', 2**20)
  with side_process.start('bandwidth', 'bandwidth', SETTING) as process:
    pid = process._process.pid
    deadline = time.monotonic() + 10
    while (state := _state(pid)) != 'T' and time.monotonic() < deadline:
      time.sleep(0.01)
    assert state == 'T' and process.cpu_seconds() > 0
    with pytest.raises(side_process.SideError, match=r'^AttributeError: .*no_such'):
      process.ask('no_such')
  assert not os.path.exists(f'/proc/{pid}')


def _state(pid):
  with open(f'/proc/{pid}/stat') as file:
    return file.read().rsplit(')', 1)[1].split()[0]


HLO = """
%fused_1 (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0)
  ROOT %r = f32[4]{0} reduce(%p, %p), dimensions={0}, to_apply=%add
}
ENTRY %main (x: f32[4]) -> f32[4] {
  %x = f32[4]{0} parameter(0)
  %fusion.1 = f32[4]{0} fusion(%x), calls=%fused_1, metadata={op_name="f/stem_bn/add"}
  %fusion.2 = (f32[4]{0}, s32[]) fusion(%x), calls=%fused_1, metadata={op_name="f/b/depthwise/add"}
  %dot.3 = f32[4,4]{1,0} dot(%x, %x), metadata={op_name="jit(f)/depthwise_bn/dot_general"}
  %conv.4 = f32[1,2,2,4]{3,2,1,0} convolution(%x, %x), window={size=3x3}
  %conv.5 = f32[1,2,2,4]{3,2,1,0} convolution(%x, %x), window={size=3x3}, feature_group_count=4
  %while.6 = (s32[], f32[4]{0}) while(%x), condition=%c, body=%b
  %copy.7 = f32[4]{0} copy(%x)
  ROOT %add.8 = f32[4]{0} add(%x, %copy.7)
}
"""


def test_operations_have_classes():
  found = profile.operation_classes(HLO)
  assert {name: found[name] for name in found if name[-1].isdigit()} == {
    'fusion.1': 'reductions', 'fusion.2': 'depthwise convolution', 'dot.3': 'matrix products',
    'conv.4': 'other convolutions', 'conv.5': 'depthwise convolution', 'while.6': '',
    'copy.7': 'copies and transposes', 'add.8': 'element-wise',
  }
  total = profile.seconds_by_class({'dot.3': 4.0, 'while.6': 9.0, 'new': 2.0}, found, 2)
  assert total['matrix products'] == 2.0 and total['other'] == 1.0 and sum(total.values()) == 3.0


def test_bytes_of_an_image():
  """B0 with SE at 224 pixels; 202.6 and 68.5 MB were counted by hand from its table."""
  moved = lambda mode: roofline.bytes_per_image('efficientnet_b0', 224, 'bfloat16', mode)
  assert moved('train') == pytest.approx(202.6e6, rel=0.02)
  assert moved('inference') == pytest.approx(68.5e6, rel=0.02)


def test_memory_of_this_machine():
  assert machine.available_memory() > 2**20
  assert machine.peak_memory() > 2**20


def test_a_median_of_nothing_is_a_dash():
  assert table.spread([], 1) == '-'

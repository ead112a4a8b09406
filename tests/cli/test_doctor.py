"""doctor: a line for each thing, what to do about it, and a status not 0 when one is broken."""

import json
import subprocess

import pytest

from ecanet_jax import cli
from ecanet_jax.cli import doctor


@pytest.fixture
def answered(monkeypatch):
  """Devices answer at once, as those of a machine with one CPU do."""
  def run(*arguments, **options):
    return subprocess.CompletedProcess(arguments, 0, '["cpu", ["cpu"], []]\n', '')

  monkeypatch.setattr(doctor.subprocess, 'run', run)


def test_a_sound_machine(answered, capsys, tmp_path):
  folder = tmp_path / 'digits' / '1.0.0'
  folder.mkdir(parents=True)
  split = {'name': 'train', 'shardLengths': ['1000', '437']}
  info = {'name': 'digits', 'version': '1.0.0', 'splits': [split]}
  (folder / 'dataset_info.json').write_text(json.dumps(info))
  status = cli.main(['doctor', f'--data_dir={tmp_path}', f'--workdir={tmp_path / "runs" / "new"}'])
  out = capsys.readouterr().out
  assert status == 0, out
  assert 'ok       devices: 1 x cpu (cpu)' in out
  assert f'ok       data: digits 1.0.0 in {tmp_path}: train 1,437' in out
  assert 'jax 0.' in out and 'GB free' in out and 'broken' not in out


def only(findings):
  (finding,) = findings
  return finding


def test_what_is_broken(answered, monkeypatch, capsys, tmp_path):
  assert cli.main(['doctor', f'--data_dir={tmp_path / "none"}']) == 1
  assert f'broken   data: {tmp_path / "none"} does not exist\n         -> python -m ecanet_jax' in (
    capsys.readouterr().out
  )
  real = doctor.installed
  fake = {'flax': '0.10.0', 'optax': '', 'torch': '2.6.0', 'jax-cuda12-plugin': '0.9.1',
          'tensorflow': '2.21.0', 'tensorflow-cpu': '2.21.0'}
  monkeypatch.setattr(doctor, 'installed', lambda name: fake.get(name, real(name)))
  found = {what: advice for level, what, advice in doctor.packages() if level == doctor.BROKEN}
  assert found['optax is not installed'] == "pip install 'optax<0.3,>=0.2.8'"
  (flax,) = [what for what in found if what.startswith('flax 0.10.0; ')]
  assert found[flax].startswith("pip install 'flax")
  levels = {what.split()[0]: level for level, what, _ in doctor.together()}
  assert levels == {'torch': 'warning', 'jax-cuda12-plugin': 'broken', 'tensorflow': 'warning'}


def test_a_wheel_without_the_extra_train(monkeypatch):
  wanted = ['jax>=0.10', 'matplotlib; extra == "train"', 'sklearn-x; extra == "train"']
  monkeypatch.setattr(doctor, 'requirements', lambda: wanted)
  monkeypatch.setattr(doctor, 'installed', lambda name: '0.10.2' if name == 'jax' else '')
  (broken,) = [finding for finding in doctor.packages() if finding[0] == doctor.BROKEN]
  assert broken[1:] == (
    'training and evaluation need matplotlib, sklearn-x; load, predict and convert do not',
    doctor.install_all(),
  )


def test_devices_that_do_not_answer(monkeypatch):
  def hangs(*arguments, **options):
    raise subprocess.TimeoutExpired(arguments, 1)

  monkeypatch.setattr(doctor.subprocess, 'run', hangs)
  level, what, advice = only(doctor.devices())
  assert (level, what) == ('broken', 'the devices did not answer in 180 s') and advice


@pytest.mark.slow
def test_real_devices(monkeypatch):
  monkeypatch.setenv('XLA_FLAGS', '--xla_force_host_platform_device_count=2')
  assert only(doctor.devices()) == ('ok', 'devices: 2 x cpu (cpu)', '')
  monkeypatch.setenv('JAX_PLATFORMS', 'nothing')
  level, what, _ = only(doctor.devices())
  assert level == 'broken' and what.startswith('JAX cannot start: ')


def test_a_disk_that_cannot_be_used(monkeypatch, tmp_path):
  usage = type('Usage', (), {'free': 1e8})
  monkeypatch.setattr(doctor.shutil, 'disk_usage', lambda path: usage)
  levels = [level for level, _, _ in doctor.disk(str(tmp_path))]
  assert levels == ['broken', 'broken']


def test_kernels(monkeypatch):
  monkeypatch.delenv('CXX', raising=False)
  level, what, _ = only(doctor.kernels())
  assert level in ('ok', 'warning') and what.startswith('CPU kernels: ')
  monkeypatch.setenv('CXX', 'no-such-compiler')
  assert "no compiler 'no-such-compiler'" in only(doctor.kernels())[1]

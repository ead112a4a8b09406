"""Which devices a program has, and what it says of those that JAX does not use."""

import logging
import pathlib
import types

import pytest

from ecanet_jax.runtime import accelerators
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.version import installed
from tests.support import programs


def device(kind, platform='tpu', host=0):
  return types.SimpleNamespace(device_kind=kind, platform=platform, process_index=host)


@pytest.fixture
def machine(monkeypatch, heard):
  """Sets what JAX finds, what JAX_PLATFORMS asks for, and what is in /dev."""

  def make(devices, asked=None, files=(), packages=()):
    def find():
      if isinstance(devices, Exception):
        raise devices
      return devices

    config = types.SimpleNamespace(jax_platforms=asked)
    monkeypatch.setattr(accelerators, 'jax', types.SimpleNamespace(devices=find, config=config))
    monkeypatch.setattr(accelerators, 'device_files', lambda platform: [
      pathlib.Path(file) for file in files if platform in ('cuda' if 'nvidia' in file else 'tpu')
    ])
    have = {name: '1.0' for name in packages} | {'jax': '0.10.2'}
    monkeypatch.setattr(accelerators, 'installed', lambda name: have.get(name, ''))
    return heard

  return make


def test_the_line(machine):
  said = machine([device('TPU v5 lite', host=host) for host in (0, 0, 1, 1)])
  accelerators.log_devices()
  assert [record.message for record in said.records] == ['devices: 4 x TPU v5 lite on 2 hosts']


@pytest.mark.parametrize(('files', 'packages', 'said'), [
  ((), (), ''),
  (('/dev/nvidia0',), (),
   '/dev/nvidia0 is there, and JAX computes on the CPU: pip install -U "jax[cuda12]==0.10.2"'),
  (('/dev/nvidia0',), ('jax-cuda13-plugin',),
   '/dev/nvidia0 is there, and JAX computes on the CPU: python -m ecanet_jax doctor'),
  (('/dev/accel0',), (),
   '/dev/accel0 is there, and JAX computes on the CPU: pip install -U "jax[tpu]==0.10.2"'),
])
def test_an_accelerator_that_is_not_used(machine, files, packages, said):
  log = machine([device('cpu', 'cpu')], None, files, packages)
  accelerators.log_devices()
  warnings = [r.message for r in log.records if r.levelno == logging.WARNING]
  assert warnings == ([said] if said else [])
  log = machine([device('cpu', 'cpu')], 'cpu', files, packages)  # the CPU is asked for
  log.clear()
  accelerators.log_devices()
  assert [record.message for record in log.records] == ['devices: 1 x cpu']


@pytest.mark.parametrize(('asked', 'devices', 'packages', 'text'), [
  ('cuda', AssertionError(), (),
   'JAX_PLATFORMS=cuda and JAX cannot use cuda (AssertionError): '
   'pip install -U "jax[cuda12]==0.10.2"'),
  ('gpu,cpu', [device('cpu', 'cpu')], (),
   'JAX_PLATFORMS=gpu,cpu and JAX cannot use cuda: pip install -U "jax[cuda12]==0.10.2"'),
  ('tpu', RuntimeError('busy'), ('libtpu',),
   'JAX_PLATFORMS=tpu and JAX cannot use tpu (busy): python -m ecanet_jax doctor'),
])
def test_an_accelerator_that_is_asked_for(machine, asked, devices, packages, text):
  machine(devices, asked, (), packages)
  with pytest.raises(UserError) as error:
    accelerators.check_devices()
  assert str(error.value) == text


def test_an_error_of_jax_itself_stays(machine):
  machine(RuntimeError('of a driver'))
  with pytest.raises(RuntimeError, match='of a driver'):
    accelerators.check_devices()


@pytest.mark.parametrize('program', ['train.py', 'eval.py'])
def test_a_program_without_the_plugin_that_is_asked_for(program, tmp_path):
  if installed('jax-cuda12-plugin') or installed('jax-cuda13-plugin'):
    pytest.skip('JAX has a plugin for CUDA here')
  done = programs.finish(programs.start(
    program, '--config=configs/smoke.py', f'--workdir={tmp_path}',
    variables={'JAX_PLATFORMS': 'cuda'},
  ))
  assert done.returncode == 2, done.stderr
  (line,) = done.stderr.splitlines()
  assert line.startswith('error: JAX_PLATFORMS=cuda and JAX cannot use cuda')
  assert f'pip install -U "jax[cuda12]=={installed("jax")}"' in line


def test_a_libtpu_without_a_tpu_is_silent():
  if not installed('libtpu') or accelerators.device_files('tpu'):
    pytest.skip('needs libtpu and no TPU')
  text = (
    'import os; [os.environ.pop(name) for name in list(os.environ) if name.startswith("TPU_")]; '
    'import jax; from ecanet_jax.runtime.accelerators import check_devices; check_devices(); '
    'print(jax.devices()[0].platform)'
  )
  done = programs.finish(programs.start('-c', text, variables={'JAX_PLATFORMS': ''}))
  assert (done.stdout.strip(), done.stderr) == ('cpu', '')

"""`python -m ecanet_jax compile`: arguments, mistakes and exit status."""

import importlib.util
import json

import pytest

from ecanet_jax import cli
from ecanet_jax.aot import program, topologies
from ecanet_jax.runtime.errors import UserError
from tests.support import programs

HAS_LIBTPU = importlib.util.find_spec('libtpu') is not None
needs_libtpu = pytest.mark.skipif(
  not HAS_LIBTPU, reason='needs libtpu: requirements-dev.txt has it'
)
SMOKE = ['compile', '--config=configs/smoke.py']


@pytest.mark.parametrize(('arguments', 'text'), [
  (['--topology=v5e:2x3'], "unknown topology 'v5e:2x3'. Did you mean 'v5e:2x4'?"),
  (['--topology=v5:2x2'], "unknown topology 'v5:2x2'. Did you mean 'v5e:2x2'?"),
  (['--topology=v5e:2x2', '--step=tran'], "unknown step 'tran'. Did you mean 'train'?"),
  (['--topology=v5e:2x2', '--stp=eval'], "unexpected argument '--stp=eval'. Did you mean '--step'"),
  (['--topology=v5e:2x2', '--config.epochs'], "write --config.epochs=VALUE"),
  (['--topology=v5e:2x2', '--config.epoch=2'], "unknown config key 'epoch'. Did you mean 'epochs'"),
  (['--topology=v5e:2x2', '--json=nowhere/a.json'], 'there is no directory nowhere'),
])
def test_bad_input(capsys, arguments, text):
  assert cli.main([*SMOKE, *arguments]) == 2
  err = capsys.readouterr().err
  assert err.startswith('error: ') and text in err and err.count('\n') == 1


def test_libtpu_is_missing(capsys, monkeypatch):
  monkeypatch.setattr(topologies.importlib.util, 'find_spec', lambda name: None)
  assert cli.main([*SMOKE, '--topology=v5e:2x2']) == 2
  assert capsys.readouterr().err == (
    "error: topology 'v5e:2x2' needs libtpu, TPU's compiler: pip install 'ecanet-jax[aot]'.\n"
  )


def test_refused_programs_end_with_status_1(capsys, monkeypatch):
  def refuse(*_):
    raise program.CompileError('does not fit: it needs 24.00G of HBM and a chip has 15.75G.')

  monkeypatch.setattr(program, 'compile_step', refuse)
  assert cli.main([*SMOKE, '--topology=v5e:2x2']) == 1
  assert capsys.readouterr().err.startswith('fault: does not fit: it needs 24.00G')


@needs_libtpu
@pytest.mark.parametrize(('topology', 'chips', 'hosts'), [
  ('v5e:1x1', 1, 1), ('v5e:16x16', 256, 64), ('v4:2x2x4', 16, 4), ('v5p:2x2x1', 4, 1),
  ('v6e:2x2', 4, 1),
])
def test_topologies(topology, chips, hosts):
  found = topologies.devices(topology)
  processes = [device.process_index for device in found]
  assert (len(found), len(set(processes))) == (chips, hosts)
  assert processes == sorted(processes)
  assert {device.platform for device in found} == {'tpu'}


@needs_libtpu
@pytest.mark.parametrize(('overrides', 'text'), [
  ({'batch_size': 63}, 'batch_size=63 does not divide over 4 devices'),
  ({'ops.backend': 'cpu'}, 'set --config.ops.backend=xla.'),
  ({'data.resident': True}, 'set --config.data.resident=False.'),
])
def test_a_config_that_does_not_fit(overrides, text):
  from ecanet_jax.cli.program import load_config

  config = load_config('configs/smoke.py', [f'--config.{k}={v}' for k, v in overrides.items()])
  with pytest.raises(UserError) as error:
    program.lower_step(config, program.topology_mesh('v5e:2x2'), 'train')
  assert str(error.value).endswith(text) or str(error.value).startswith(text)


@needs_libtpu
def test_as_a_user_runs_it(tmp_path):
  file = tmp_path / 'figures.json'
  done = programs.run(
    '-m', 'ecanet_jax', *SMOKE, '--topology=v5e:2x2', '--step=eval', f'--json={file}'
  )
  assert done.stdout.startswith('From the compiled program, not from a device.')
  assert '--config.batch_size=512 would fill them' in done.stdout
  figures = json.loads(file.read_text())
  assert (figures['step'], figures['chips'], figures['batch_size']) == ('eval', 4, 64)
  assert figures['faults'] == [] and figures['flops'] > 0

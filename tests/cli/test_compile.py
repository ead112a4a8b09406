"""`python -m ecanet_jax compile`: arguments, mistakes and exit status."""

import pytest

from ecanet_jax import cli
from ecanet_jax.aot import program, topologies
from ecanet_jax.runtime.errors import UserError
from tests.support import aot, programs
from tests.support.aot import needs_cuda_plugin, needs_libtpu

SMOKE = ['compile', '--config=configs/smoke.py']
V5E = '--topology=v5e:2x2'


@pytest.mark.parametrize(('arguments', 'text'), [
  (['--topology=v5e:2x3'], "unknown topology 'v5e:2x3'. Did you mean 'v5e:2x4'?"),
  (['--topology=v5:2x2'], "unknown topology 'v5:2x2'. Did you mean 'v5e:2x2'?"),
  (['--topology=h100:3'], "unknown topology 'h100:3'. Did you mean 'h100:"),
  (['--topology=v5e:2x2', '--step=tran'], "unknown step 'tran'. Did you mean 'train'?"),
  (['--topology=v5e:2x2', '--stp=eval'], "unexpected argument '--stp=eval'. Did you mean '--step'"),
  (['--topology=v5e:2x2', '--config.epochs'], "write --config.epochs=VALUE"),
  (['--topology=v5e:2x2', '--config.epoch=2'], "unknown config key 'epoch'. Did you mean 'epochs'"),
  (['--topology=v5e:2x2', '--json=nowhere/a.json'], 'there is no directory nowhere'),
  ([], '--topology is missing: give one, such as --topology=v5e:2x2.'),
  (['--topology=v5e:2x2', '--again'], '--again belongs to --table'),
  (['--table'], '--table has its own programs and takes no --config'),
])
def test_bad_input(capsys, arguments, text):
  assert cli.main([*SMOKE, *arguments]) == 2
  err = capsys.readouterr().err
  assert err.startswith('error: ') and text in err and err.count('\n') == 1


def test_no_config(capsys):
  assert cli.main(['compile', V5E]) == 2
  assert capsys.readouterr().err == (
    'error: --config is missing: give one, such as --config=configs/eca_b0.py.\n'
  )


@pytest.mark.parametrize(('topology', 'what', 'extra'), [
  ('v5e:2x2', "libtpu, TPU's compiler", 'aot'), ('h100:8', "JAX's CUDA plugin", 'aot-gpu'),
])
def test_the_compiler_is_missing(topology, what, extra, capsys, monkeypatch):
  monkeypatch.setattr(topologies.importlib.util, 'find_spec', lambda name: None)
  assert cli.main([*SMOKE, f'--topology={topology}']) == 2
  assert capsys.readouterr().err == (
    f"error: topology {topology!r} needs {what}: pip install 'ecanet-jax[{extra}]'.\n"
  )


@pytest.mark.parametrize(('kind', 'flags', 'advice'), [
  (program.DoesNotFit, [], ' --largest_batch finds the largest batch that fits.\n'),
  (program.CompileError, [], '\n'),
])
def test_refused_programs_end_with_status_1(kind, flags, advice, capsys, monkeypatch):
  text = 'does not fit: it needs 24.00G of HBM and a chip has 15.75G.'

  def refuse(*_):
    raise kind(text)

  monkeypatch.setattr(program, 'compile_step', refuse)
  assert cli.main([*SMOKE, V5E]) == 1
  assert capsys.readouterr().err == f'fault: {text}{advice}'


@needs_libtpu
def test_no_batch_fits(capsys, monkeypatch):
  def refuse(*_):
    raise program.DoesNotFit('does not fit: it needs 24.00G of HBM and a chip has 15.75G.')

  monkeypatch.setattr(program, 'compile_step', refuse)
  assert cli.main([*SMOKE, V5E, '--largest_batch']) == 1
  first, *_, last = capsys.readouterr().err.splitlines()
  assert first.startswith('--config.batch_size=512 does not fit: it needs 24.00G')
  assert last == 'fault: not even one image a chip fits.'


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


@needs_cuda_plugin
def test_gpus(tmp_path):
  text = '''
from ecanet_jax.aot.topologies import devices
for topology in ('h100:1', 'h100:8', 'a100:16'):
  found = devices(topology)
  print(topology, len(found), len({each.process_index for each in found}), found[0].device_kind)
'''
  done = programs.finish(programs.start('-c', text, variables=aot.with_cuda_plugin()))
  assert done.stdout == (
    'h100:1 1 1 NVIDIA H100 80GB HBM3\nh100:8 8 1 NVIDIA H100 80GB HBM3\n'
    'a100:16 16 2 NVIDIA A100-SXM4-80GB\n'
  ), done.stderr


@needs_libtpu
@pytest.mark.parametrize(('overrides', 'text'), [
  ({'batch_size': 63}, 'batch_size=63 does not divide over 4 devices'),
  ({'ops.backend': 'cpu'}, 'set --config.ops.backend=xla.'),
  ({'data.resident': True}, 'set --config.data.resident=False.'),
])
def test_a_config_that_does_not_fit(overrides, text):
  from ecanet_jax.cli.config import load_config

  config = load_config('configs/smoke.py', [f'--config.{k}={v}' for k, v in overrides.items()])
  with pytest.raises(UserError) as error:
    program.lower_step(config, program.topology_mesh('v5e:2x2'), 'train')
  assert str(error.value).endswith(text) or str(error.value).startswith(text)


@needs_libtpu
def test_as_a_user_runs_it(tmp_path):
  file = tmp_path / 'figures.json'
  done = programs.run('-m', 'ecanet_jax', *SMOKE, V5E, '--step=eval', f'--json={file}')
  assert done.stdout.startswith('From the compiled program, not from a device.')
  assert '--config.batch_size=512 would fill them' in done.stdout
  figures = aot.read(file)
  assert (figures['network'], figures['step'], figures['chips']) == ('tiny_efficientnet', 'eval', 4)
  assert figures['batch_size'] == 64 and figures['flops'] > 0
  assert set(figures['versions']) == {'jax', 'libtpu'} and figures['date'].startswith('20')


@needs_cuda_plugin
def test_a_gpu(tmp_path):
  figures = aot.figures(tmp_path / 'figures.json', *SMOKE[1:], '--topology=h100:8', '--step=eval')
  assert (figures['chips'], figures['cycles'], figures['seconds']) == (8, {}, None)
  assert {group['kind'] for group in figures['collectives']} == {'all-reduce'}
  assert set(figures['custom_calls']) <= aot.OWN_GPU_CALLS
  assert 0 < figures['memory']['peak'] < figures['hbm'] and figures['flops'] > 0
  assert figures['fusions']['count'] >= figures['fusions']['small'] > 0

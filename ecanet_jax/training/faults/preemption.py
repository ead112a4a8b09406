"""Ends a training on SIGTERM or SIGINT: the signal is noted, and the training checks between steps.

In a single process a thread notes the signal. The training checks after each step, each evaluation
batch and each wait for data. With several processes JAX receives SIGTERM and informs all of them;
they agree on a common count of checks at which to stop. Python must then have no handler of
SIGTERM, which would replace JAX's own.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import jax
from jax.experimental import multihost_utils

from ecanet_jax.runtime.errors import PEER_LOST, Interrupted, one_line
from ecanet_jax.training.faults.watchdog import Watchdog

Value = TypeVar('Value')

# Parts of errors of XLA or of the coordination service that mean: another process has ended.
LOST = (
  'Gloo', 'Connection reset', 'Connection closed', 'Connection refused', 'Broken pipe',
  'heartbeat', 'UNAVAILABLE', 'Socket closed', 'disconnected', 'Barrier timed out',
)
REPEATED = 1.0  # seconds within which a second signal counts as the same one, sent twice


class Preemption:
  """Receives the signals of one training and runs its watchdog; a context manager.

  Attributes:
    phase: start, data, step, evaluation, save or end.
    step: the last finished step.
    requested: name of the signal that ends the training; '' = none.
  """

  def __init__(self, watchdog_seconds: float):
    """After watchdog_seconds without progress the process ends; 0 = never."""
    self.phase, self.step, self.requested = 'start', 0, ''
    self._several = jax.process_count() > 1
    self._seconds = watchdog_seconds
    self._moves = 0  # grows with every phase, step and batch
    self._checks = 0  # the same on all processes
    self._handlers: dict = {}
    self._sockets: tuple[socket.socket, ...] = ()
    self._wakeup = -1  # previous wakeup file descriptor of Python
    self._watchdog = None

  def __enter__(self) -> 'Preemption':
    if threading.current_thread() is threading.main_thread():
      if self._several:  # JAX receives SIGTERM and informs the others
        take = lambda number, frame: os.kill(os.getpid(), signal.SIGTERM)
        self._handlers = {signal.SIGINT: signal.signal(signal.SIGINT, take)}
      else:
        self._receive_signals()
    if self._seconds:
      self._watchdog = Watchdog(self._seconds, lambda: (self._moves, self.step, self.phase))
    return self

  def __exit__(self, kind, error, traceback) -> None:
    for number, handler in self._handlers.items():
      signal.signal(number, handler)
    if self._sockets:
      signal.set_wakeup_fd(self._wakeup)
      self._sockets[1].close()  # ends the thread
    if self._watchdog:
      self._watchdog.stop()

  def enter(self, phase: str) -> None:
    """Begins another phase."""
    self.phase = phase
    self._moves += 1

  def check(self) -> None:
    """Raises Interrupted if a signal asks to save and leave.

    All processes must call it equally often.
    """
    self._moves += 1
    self._checks += 1
    if self._several and multihost_utils.reached_preemption_sync_point(self._checks):
      self.requested = 'SIGTERM'
    if self.requested:
      raise Interrupted(f'{self.requested} in phase {self.phase!r}; the same command resumes.')

  def checked(self, items: Iterable[Value]) -> Iterator[Value]:
    """Yields the items, with a `check` after each wait for one."""
    for item in items:
      self.check()
      yield item

  def end_if_lost(self, error: Exception) -> None:
    """Ends this process with status 76 if the error means that another one has ended."""
    if self._several and any(part in str(error) for part in LOST):
      print(
        f'error: process {jax.process_index()} of {jax.process_count()} lost another one in phase '
        f'{self.phase!r} after step {self.step}: {one_line(error, 300)}; the same command on all '
        'resumes from the last checkpoint.', file=sys.stderr, flush=True,
      )
      os._exit(PEER_LOST)  # an orderly exit would wait for the other process

  def _receive_signals(self) -> None:
    """Sends signal numbers to a thread.

    Python runs a signal handler only when the main thread returns from C++, which takes minutes
    during a compilation. The thread sees signals at once, so a second one ends the process at once.
    """
    self._sockets = socket.socketpair()
    self._sockets[1].setblocking(False)
    self._wakeup = signal.set_wakeup_fd(self._sockets[1].fileno())
    noted_by_the_thread = lambda number, frame: None
    self._handlers = {
      number: signal.signal(number, noted_by_the_thread)
      for number in (signal.SIGINT, signal.SIGTERM)
    }
    threading.Thread(target=self._listen, args=self._sockets[:1], daemon=True).start()

  def _listen(self, numbers: socket.socket) -> None:
    first = 0.0
    with numbers:
      while byte := numbers.recv(1):
        if byte[0] not in self._handlers:
          continue
        name, now = signal.Signals(byte[0]).name, time.monotonic()
        if not self.requested:
          self.requested, first = name, now
        elif now - first > REPEATED:
          print(f'error: {name} again; left without saving.', file=sys.stderr, flush=True)
          os._exit(128 + byte[0])

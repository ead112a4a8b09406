"""Ends a training in order when it is told to: SIGTERM and SIGINT are noted and read between steps.

One process: a thread notes the signal, and the training reads the note after each step, each batch
of an evaluation and each wait for data. Several processes: JAX receives SIGTERM and tells all of
them, and a common count of these reads says where they stop. Python must have no handler of SIGTERM
then: JAX's own would no longer be called.
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

# In a RuntimeError of XLA or of the coordination service: another process is gone.
LOST = (
  'Gloo', 'Connection reset', 'Connection closed', 'Connection refused', 'Broken pipe',
  'heartbeat', 'UNAVAILABLE', 'Socket closed', 'disconnected', 'Barrier timed out',
)
REPEATED = 1.0  # seconds: a second signal within is the same one, sent to the group and the process


class Preemption:
  """Receives the signals of one training and runs its watchdog; a context.

  Attributes:
    phase: start, data, step, evaluation, save or end.
    step: the last finished step.
    requested: the name of the signal that ends the training, '' for none.
  """

  def __init__(self, watchdog_seconds: float):
    """With watchdog_seconds the process ends after so long without progress; 0 = never."""
    self.phase, self.step, self.requested = 'start', 0, ''
    self._several = jax.process_count() > 1
    self._seconds = watchdog_seconds
    self._moves = 0  # grows with every phase, step and batch
    self._checks = 0  # the same on all processes
    self._handlers: dict = {}
    self._sockets: tuple[socket.socket, ...] = ()
    self._wakeup = -1  # file descriptor that Python wrote signals to before
    self._watchdog = None

  def __enter__(self) -> 'Preemption':
    if threading.current_thread() is threading.main_thread():
      if self._several:  # JAX has SIGTERM and tells the others
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
      self._sockets[1].close()  # which ends the thread
    if self._watchdog:
      self._watchdog.stop()

  def enter(self, phase: str) -> None:
    """Another phase begins."""
    self.phase = phase
    self._moves += 1

  def check(self) -> None:
    """Raises Interrupted if the training is to be saved and left here.

    Every process must call it as often as the others.
    """
    self._moves += 1
    self._checks += 1
    if self._several and multihost_utils.reached_preemption_sync_point(self._checks):
      self.requested = 'SIGTERM'
    if self.requested:
      raise Interrupted(f'{self.requested} in phase {self.phase!r}; the same command resumes.')

  def checked(self, items: Iterable[Value]) -> Iterator[Value]:
    """Gives the items, with a `check` after each wait for one."""
    for item in items:
      self.check()
      yield item

  def end_if_lost(self, error: Exception) -> None:
    """Ends this process with status 76 if the error says that another one is gone."""
    if self._several and any(part in str(error) for part in LOST):
      print(
        f'error: process {jax.process_index()} of {jax.process_count()} lost another one in phase '
        f'{self.phase!r} after step {self.step}: {one_line(error, 300)}; the same command on all '
        'resumes from the last checkpoint.', file=sys.stderr, flush=True,
      )
      os._exit(PEER_LOST)  # everything else would wait for the other process

  def _receive_signals(self) -> None:
    """Sends the numbers of signals to a thread.

    A handler in Python runs when the main thread is back from C++, which a compilation keeps for
    minutes. The thread hears of a signal at once, and so a second one ends the process at once.
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

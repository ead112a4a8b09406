"""A training ends well when it is told to, and does not wait for ever for what will not come.

One process: SIGTERM and SIGINT have a handler. What can take long (compilation, the next batch, an
evaluation) runs in a worker thread, so that the main thread, which alone has the state, can save it
and leave at once. Several processes: JAX has SIGTERM and tells all of them; one counter of steps
and evaluation batches says where they stop, the same on each. Never both: JAX's agreement no longer
works once Python has a handler of SIGTERM.
"""

import contextlib
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import jax
from jax.experimental import multihost_utils

from ecanet_jax.runtime.errors import PEER_LOST, Interrupted
from ecanet_jax.training.faults.watchdog import Watchdog

Value = TypeVar('Value')

# In a RuntimeError of XLA or of the coordination service: another process is gone.
LOST = (
  'Gloo', 'Connection reset', 'Connection closed', 'Connection refused', 'Broken pipe',
  'heartbeat', 'UNAVAILABLE', 'Socket closed', 'disconnected', 'Barrier timed out',
)
REPEATED = 1.0  # seconds: a second signal within is the same one, sent to the group and the process


class Supervisor:
  """Watches one training, as a context.

  Attributes:
    phase: what goes on: start, compile, data, step, evaluation, save or end.
    step: last finished step.
    requested: name of the signal that ends the training, '' for none.
  """

  def __init__(self, watchdog_seconds: float):
    """With watchdog_seconds the process ends if nothing goes on for so long; 0 = never."""
    self.phase, self.step, self.requested = 'start', 0, ''
    self._several = jax.process_count() > 1
    self._seconds, self._signalled = watchdog_seconds, 0.0
    self._moves = 0  # grows while something goes on
    self._ticks = 0  # the same on all processes
    self._waiting = False  # the main thread waits for the worker, and can be called away
    self._busy = False  # the worker has not come back
    self._orders: queue.SimpleQueue = queue.SimpleQueue()
    self._answers: queue.SimpleQueue = queue.SimpleQueue()
    self._handlers: dict = {}
    self._watchdog = None

  def __enter__(self) -> 'Supervisor':
    if threading.current_thread() is threading.main_thread():
      numbers = (signal.SIGINT,) if self._several else (signal.SIGINT, signal.SIGTERM)
      self._handlers = {number: signal.signal(number, self._handle) for number in numbers}
      if not self._several:
        threading.Thread(target=self._work, name='worker', daemon=True).start()
    if self._seconds:
      self._watchdog = Watchdog(self._seconds, lambda: (self._moves, self.step, self.phase))
    return self

  def __exit__(self, kind, error, traceback) -> None:
    for number, handler in self._handlers.items():
      signal.signal(number, handler)
    self._orders.put(None)
    if self._watchdog:
      self._watchdog.stop()

  def enter(self, phase: str) -> None:
    """Something else goes on from here."""
    self.phase = phase
    self._moves += 1

  def call(self, phase: str, function: Callable[..., Value], *arguments) -> Value:
    """Returns `function(*arguments)`, which must leave the training's state alone.

    Raises:
      Interrupted: in one process, as soon as a signal comes; the function goes on by itself.
    """
    self.enter(phase)
    if not self._handlers or self._several:
      return function(*arguments)
    self._busy = True
    self._orders.put((function, arguments))
    try:
      self._waiting = True  # from here to the end of `finally` the handler raises
      if self.requested:
        raise self._interrupted()
      value, error = self._answers.get()
    finally:
      self._waiting = False
    self._busy = False
    if error is not None:
      raise error
    return value

  def tick(self) -> bool:
    """Counts a step or an evaluation's batch; True if the training is to be saved and left here.

    Every process must call it as often as the others.
    """
    self._moves += 1
    self._ticks += 1
    if self._several and multihost_utils.reached_preemption_sync_point(self._ticks):
      self.requested = 'SIGTERM'
    return bool(self.requested)

  def watched(self, items: Iterable[Value]) -> Iterator[Value]:
    """Gives the items, and counts them; see `tick`.

    Raises:
      Interrupted: the training is to be left.
    """
    for item in items:
      if self.tick():
        raise self._interrupted()
      yield item

  def close(self, stream) -> None:
    """Closes a generator, unless the worker is inside it."""
    if not self._busy:
      stream.close()
    else:
      with contextlib.suppress(ValueError):
        stream.close()

  def end_if_lost(self, error: Exception) -> None:
    """Ends this process with status 76 if the error says that another one is gone."""
    text = ' '.join(str(error).split())
    if self._several and any(part in text for part in LOST):
      print(
        f'error: process {jax.process_index()} of {jax.process_count()} lost another one in phase '
        f'{self.phase!r} after step {self.step}: {text[:300]}; the same command on all goes on '
        'from the last checkpoint.', file=sys.stderr, flush=True,
      )
      os._exit(PEER_LOST)  # everything else would wait for the other process

  def _handle(self, number: int, frame) -> None:
    """Of a signal, in the main thread."""
    name, now = signal.Signals(number).name, time.monotonic()
    if self._several:  # SIGINT: as SIGTERM, which JAX has and tells the others
      os.kill(os.getpid(), signal.SIGTERM)
      return
    if self.requested:
      if now - self._signalled > REPEATED:
        print(f'error: {name} again; left without saving.', file=sys.stderr, flush=True)
        os._exit(128 + number)
      return
    self.requested, self._signalled = name, now
    if self._waiting:
      raise self._interrupted()

  def _interrupted(self) -> Interrupted:
    return Interrupted(f'{self.requested} in phase {self.phase!r}; the same command goes on.')

  def _work(self) -> None:
    while (order := self._orders.get()) is not None:
      function, arguments = order
      try:
        answer = function(*arguments), None
      except BaseException as error:
        answer = None, error
      self._answers.put(answer)
      del function, arguments, order, answer

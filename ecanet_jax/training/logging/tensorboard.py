"""A training's figures as TensorBoard events; imported on demand."""

import pathlib
import time

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

FLUSH_SECONDS = 30.0  # between flushes, which wait for the disk


class Events:
  """WORKDIR/tensorboard, one file for every start of the training.

  tensorboardX's own thread is not used: a full disk ends it, and every later write then blocks.
  """

  def __init__(self, workdir: pathlib.Path, start_step: int):
    directory = workdir / 'tensorboard'
    directory.mkdir(exist_ok=True)
    self._file = EventsWriter(str(directory / 'events'))
    self._flushed = time.monotonic()
    if start_step:
      # TensorBoard drops the later steps of earlier files.
      self._write(start_step + 1, session_log=SessionLog(status=SessionLog.START))

  def write(self, step: int, figures: dict[str, float]) -> None:
    """Writes each figure under its name."""
    for name, value in figures.items():
      self._write(step, summary=scalar(name, value))
    if time.monotonic() - self._flushed > FLUSH_SECONDS:
      self._flushed = time.monotonic()
      self._file.flush()

  def flush(self) -> None:
    self._file.flush()

  def close(self) -> None:
    self._file.close()

  def _write(self, step: int, **content) -> None:
    self._file.write_event(Event(wall_time=time.time(), step=step, **content))

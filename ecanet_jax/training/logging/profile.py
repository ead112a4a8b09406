"""A profile of some steps, for xprof and TensorBoard's profile page."""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator

import jax

from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.log import log


class Profile:
  """Traces the steps `config.profile.first` to `last` of the first process.

  The trace goes to WORKDIR/tensorboard/plugins/profile when the last of them ends. It is written on
  the local disk first, since the profiler does not write to every kind of path.
  """

  def __init__(self, config, workdir: paths.Path):
    """Traces nothing if `last` is 0."""
    self._first, self._last = config.profile.first, config.profile.last
    self._target = workdir / 'tensorboard'
    self._folder: tempfile.TemporaryDirectory | None = None  # while a trace is running

  @contextlib.contextmanager
  def step(self, number: int) -> Iterator[None]:
    """The dispatch of a step goes inside; the first step to profile starts the trace."""
    due = self._first <= number <= self._last and jax.process_index() == 0
    if due and self._folder is None:
      self._folder = tempfile.TemporaryDirectory(prefix='ecanet_jax_profile_')
      options = jax.profiler.ProfileOptions()
      options.python_tracer_level = 0  # else every call of a function is in the trace
      jax.profiler.start_trace(self._folder.name, profiler_options=options)
    with jax.profiler.StepTraceAnnotation('train', step_num=number):
      yield

  def finish(self, number: int, outputs) -> None:
    """Ends the trace if this is its last step; waits for the step's outputs first."""
    if self._folder is not None and number >= self._last:
      jax.block_until_ready(outputs)
      self.close()

  def close(self) -> None:
    """Ends a trace that is running, and moves it into the workdir."""
    if self._folder is None:
      return
    with self._folder as name:
      self._folder = None
      jax.profiler.stop_trace()
      try:
        for file in sorted(pathlib.Path(name).rglob('*')):
          if file.is_file():
            target = self._target / file.relative_to(name)
            paths.make_directory(target.parent)
            paths.write_whole(target, file.read_bytes())
        log.info('profile of the steps up to %d: tensorboard --logdir=%s', self._last, self._target)
      except OSError as error:
        log.warning('the profile cannot be written to %s: %s', self._target, error)


def check_profile(config) -> None:
  """Raises UserError if the last step to profile is before the first."""
  first, last = config.profile.first, config.profile.last
  if 0 < last < first:
    raise UserError(
      f'profile.last={last} must be at least profile.first={first}, or 0 for no profile: set '
      f'--config.profile.last={first}.'
    )

"""The time that a report counts."""

import pytest

from ecanet_jax.runtime import progress

METRICS = {'loss': 0.0, 'lr': 0.0}


@pytest.fixture
def clock(monkeypatch):
  """Its `now` is the time that `progress` sees."""

  class Clock:
    now = 100.0

    def monotonic(self):
      return self.now

  clock = Clock()
  monkeypatch.setattr(progress, 'time', clock)
  return clock


def test_compilation_and_evaluation_are_not_training(clock):
  bar = progress.Progress(10, 30, 8)
  clock.now += 50  # the first step compiles
  bar.compiled()
  clock.now += 8  # four more
  with bar.paused():
    clock.now += 1000
  figures = bar.report(15, 0.0, METRICS)
  assert figures['seconds'] == 10 and figures['images_per_second'] == 4
  with bar.waiting():
    clock.now += 1
  clock.now += 3
  figures = bar.report(17, 0.0, METRICS)
  assert figures == {'seconds': 4, 'images_per_second': 4, 'data_wait': 0.25}


def test_a_report_of_the_first_step_alone(clock):
  bar = progress.Progress(0, 3, 8)
  clock.now += 50
  bar.compiled()
  assert bar.report(1, 0.0, METRICS)['seconds'] == 0
  clock.now += 2
  assert bar.report(2, 0.0, METRICS)['seconds'] == 4  # with the first's share
  clock.now += 2
  assert bar.report(3, 0.0, METRICS)['seconds'] == 2

"""The time that a report counts, and who sees the bars."""

import sys
import types

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


@pytest.mark.parametrize(('use', 'said'), [
  ({}, '4.0 images/s, 0 %'),
  ({'images_per_second_per_chip': 0.5}, '4.0 images/s (0.5 a chip), 0 %'),
  ({'images_per_second_per_chip': 0.5, 'mfu': 0.312}, '4.0 images/s (0.5 a chip, MFU 31.2 %), 0 %'),
  ({'mfu': 0.312}, '4.0 images/s (MFU 31.2 %), 0 %'),
])
def test_the_line_says_how_well_the_chips_are_used(clock, heard, use, said):
  asked = []
  bar = progress.Progress(0, 9, 8, lambda *given: asked.append(given) or use)
  clock.now += 4
  figures = bar.report(2, 0.0, METRICS)
  assert asked == [(2, 4.0)] and figures.items() >= use.items()
  assert said in heard.records[-1].message


def test_a_notebook_shows_the_bars(monkeypatch):
  kernel = types.SimpleNamespace(config={'IPKernelApp': {}})
  monkeypatch.setitem(sys.modules, 'IPython', types.SimpleNamespace(get_ipython=lambda: kernel))
  assert progress.in_notebook() and progress.watched()
  monkeypatch.setitem(sys.modules, 'IPython', types.SimpleNamespace(get_ipython=lambda: None))
  assert not progress.in_notebook()

"""Early stopping: what is counted, and that a checkpoint's meta keeps it."""

import json

from ecanet_jax.tasks.classification import TOP1
from ecanet_jax.tasks.task import Metric
from ecanet_jax.training.early_stopping import EvaluationHistory


def after(*top1):
  history = EvaluationHistory(TOP1)
  for step, value in enumerate(top1, start=1):
    history.add(10 * step, {'top1': value, 'loss': 1.0})
  return history


def restored(meta):
  history = EvaluationHistory(TOP1)
  history.restore(json.loads(json.dumps(meta)))
  return history


def test_patience_counts_evaluations_without_a_better_one():
  assert after(0.0).reason_to_stop(1) == ''
  assert after(0.5, 0.6, 0.55).reason_to_stop(2) == ''
  stopped = after(0.5, 0.6, 0.6, 0.55).reason_to_stop(2)
  assert stopped == 'stopped early: 2 evaluations without a better top-1 than 60.00 % of step 20'
  assert after(0.5, 0.4, 0.6).reason_to_stop(2) == ''  # a better one begins anew
  assert after(0.5, 0.4, 0.3, 0.2).reason_to_stop(0) == ''  # off
  assert EvaluationHistory(TOP1).reason_to_stop(3) == ''


def test_meta_gives_it_back():
  history = after(0.5, 0.6, 0.55)
  assert restored(history.meta()) == history
  former = {'best': history.best, 'last': history.last}  # a checkpoint of a former version
  assert restored(former).stale == 0


def test_a_metric_that_should_fall():
  history = EvaluationHistory(Metric('error', 'error', higher_is_better=False))
  for step, error in enumerate((0.5, 0.3, 0.4), start=1):
    history.add(step, {'error': error})
  assert history.best['step'] == 2
  assert history.reason_to_stop(1) == (
    'stopped early: 1 evaluations without a better error than 0.30 of step 2'
  )

"""Early stop: what is counted, and that a checkpoint's meta keeps it."""

import json

from ecanet_jax.training.early_stopping import Results


def after(*top1):
  results = Results()
  for step, value in enumerate(top1, start=1):
    results.add(10 * step, {'top1': value, 'loss': 1.0})
  return results


def test_patience_counts_evaluations_without_a_better_one():
  assert after(0.0).enough(1) == ''
  assert after(0.5, 0.6, 0.55).enough(2) == ''
  stopped = after(0.5, 0.6, 0.6, 0.55).enough(2)
  assert stopped == 'stopped early: 2 evaluations without a better top-1 than 60.00 % of step 20'
  assert after(0.5, 0.4, 0.6).enough(2) == ''  # a better one begins anew
  assert after(0.5, 0.4, 0.3, 0.2).enough(0) == ''  # off
  assert Results().enough(3) == ''


def test_meta_gives_it_back():
  results = after(0.5, 0.6, 0.55)
  assert Results.of(json.loads(json.dumps(results.meta()))) == results
  former = {'best': results.best, 'last': results.last}  # a checkpoint of a former version
  assert Results.of(former).stale == 0

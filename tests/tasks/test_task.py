"""A metric as it is shown and compared."""

from ecanet_jax.evaluation.summary import result_line
from ecanet_jax.tasks.classification import TOP1, Classification
from ecanet_jax.tasks.task import Metric


def test_a_metric_in_words():
  assert (TOP1.show(0.7712), TOP1.heading) == ('77.12 %', 'top-1, %')
  error = Metric('error', 'mean error', higher_is_better=False)
  assert (error.show(0.25), error.heading) == ('0.25', 'mean error')


def test_the_largest_score_is_the_best():
  assert TOP1.score({'top1': 0.5}) == 0.5
  assert Metric('error', 'error', higher_is_better=False).score({'error': 0.5}) == -0.5


def test_a_result_shows_the_metrics_of_its_task():

  class Detection(Classification):
    headline = Metric('map', 'mAP', 100, '%')
    shown = (headline,)

  metrics = {'map': 0.415, 'loss': 1.5, 'seen': 5000}
  assert result_line(Detection, metrics, 'val', 5000, 'W') == (
    'mAP 41.50 %, loss 1.5000 on 5,000 of 5,000 images of val; W'
  )

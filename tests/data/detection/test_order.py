import numpy as np
import pytest

from ecanet_jax.data.detection.order import TrainingOrder, evaluation_order

BUCKETS = [np.array([0, 2, 4, 6, 8, 9, 10]), np.array([1, 3, 5]), np.array([], np.int64)]


def test_every_image_is_seen_equally_often():
  order = TrainingOrder(BUCKETS, 4, seed=3)
  seen, buckets = np.zeros(11, int), []
  for step in range(10):  # 40 rows: four epochs of ten images
    rows = order.rows(step, np.arange(4))
    assert set(rows.indices) <= set(BUCKETS[rows.bucket])
    np.add.at(seen, rows.indices, 1)
    buckets.append(rows.bucket)
  assert seen.tolist() == [4, 4, 4, 4, 4, 4, 4, 0, 4, 4, 4]
  assert buckets.count(1) == 3
  again = TrainingOrder(BUCKETS, 4, seed=3).rows(7, np.arange(4))
  np.testing.assert_array_equal(again.indices, order.rows(7, np.arange(4)).indices)
  other = [TrainingOrder(BUCKETS, 4, seed=4).rows(step, np.arange(4)) for step in range(10)]
  assert any((one.indices != order.rows(step, np.arange(4)).indices).any()
             for step, one in enumerate(other))


def test_hosts_share_a_batch():
  order = TrainingOrder(BUCKETS, 4, seed=0)
  for step in range(6):
    whole = order.rows(step, np.arange(4))
    parts = [order.rows(step, np.array(places)) for places in ([0, 1], [2, 3])]
    assert {part.bucket for part in parts} == {whole.bucket}
    for name in ('indices', 'keys'):
      together = np.concatenate([getattr(part, name) for part in parts])
      np.testing.assert_array_equal(together, getattr(whole, name))


@pytest.mark.parametrize('batch_size', [1, 2, 4, 16])
def test_evaluation_reads_every_image_once(batch_size):
  hosts = 2 if batch_size > 1 else 1
  share = batch_size // hosts
  parts = [
    evaluation_order(BUCKETS, batch_size, np.arange(host * share, (host + 1) * share))
    for host in range(hosts)
  ]
  assert len({tuple(rows.bucket for rows in part) for part in parts}) == 1
  seen = np.concatenate([rows.indices for part in parts for rows in part])
  assert sorted(seen[seen >= 0]) == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10]

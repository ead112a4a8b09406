"""Counts of the registered detectors: integers, by tracing."""

import pytest

from ecanet_jax.detection import table
from ecanet_jax.detection.count import count_registered

# All parameters, trained ones, FLOPs of mmdetection 1.0rc0's own counter.
EXACT = {
  'faster_rcnn_r50_fpn': (41_757_156, 41_531_812, 207_069_234_100),
  'se_faster_rcnn_r50_fpn': (44_272_100, 44_022_180, 207_184_389_988),
  'eca_faster_rcnn_r50_fpn': (41_757_236, 41_531_877, 207_181_949_620),
  'faster_rcnn_r101_fpn': (60_749_284, 60_523_940, 283_142_194_100),
  'se_faster_rcnn_r101_fpn': (65_492_452, 65_242_532, 283_329_211_300),
  'eca_faster_rcnn_r101_fpn': (60_749_441, 60_524_088, 283_324_635_316),
  'mask_rcnn_r50_fpn': (44_400_693, 44_175_349, 275_575_859_700),
  'se_mask_rcnn_r50_fpn': (46_915_637, 46_665_717, 275_691_015_588),
  'eca_mask_rcnn_r50_fpn': (44_400_777, 44_175_424, 275_688_594_164),
  'mask_rcnn_r101_fpn': (63_392_821, 63_167_477, 351_648_819_700),
  'se_mask_rcnn_r101_fpn': (68_135_989, 67_886_069, 351_835_836_900),
  'eca_mask_rcnn_r101_fpn': (63_392_978, 63_167_625, 351_831_260_916),
  'eca_retinanet_r50_fpn': (37_968_776, 37_743_423, 239_429_234_984),
  'eca_retinanet_r101_fpn': (56_960_977, 56_735_624, 315_571_901_736),
}


@pytest.mark.parametrize('name', EXACT)
def test_counts_are_those_of_mmdetections_counter(name):
  count = count_registered(name)
  ours = tuple(sum(part.values()) for part in (count.parameters, count.trained, count.flops))
  print(ours)
  assert ours == EXACT[name]


@pytest.mark.parametrize('name', EXACT)
def test_printed_figures(name):
  """To the digits of Table 4 and of the authors' README."""
  (row,) = table.rows(name)
  assert row.parameters.matches and row.operations.matches, table.text_line(row)


def test_every_published_detector_is_counted():
  assert set(EXACT) == {row.record.name for row in table.rows()}

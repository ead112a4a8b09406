"""An evaluation's files: JSON that says everything, and pictures of the right kind."""

import json

import numpy as np
import pytest
from PIL import Image

from ecanet_jax.evaluation import calibration, confusion
from ecanet_jax.evaluation.report import write_report


def made(classes, multi_label=False):
  random = np.random.RandomState(0)
  count = random.randint(1, 50, 15)
  metrics = {
    'top1': 0.5, 'ece': 0.1, 'seen': int(count.sum()),
    'bins': {
      'count': count.tolist(), 'correct': (count // 2).tolist(),
      'confidence': (count * (np.arange(15) + 0.5) / 15).tolist(),
    },
  }
  if not multi_label:
    metrics['classes'] = [
      {'class': 3 * number, 'seen': 10, 'correct': number % 11} for number in range(classes)
    ]
    metrics['confused'] = [[0, 3, 7], [3, 0, 2]]
  return metrics


@pytest.mark.parametrize('classes', [3, 200])
def test_files(tmp_path, classes):
  metrics, names = made(classes), [f'name {number}' for number in range(3 * classes)]
  files = write_report(tmp_path / 'deep' / 'a.json', metrics, names, 'title')
  assert [file.name for file in files] == ['a.json', 'a.reliability.png', 'a.confusion.png']
  read = json.loads(files[0].read_text())
  assert read['classes'][2] == {'class': 6, 'seen': 10, 'correct': 2, 'name': 'name 6'}
  del read['classes'], metrics['classes']
  assert read == metrics
  for file in files[1:]:
    with Image.open(file) as image:
      assert min(image.size) > 300


def test_several_labels_have_no_confusion(tmp_path):
  files = write_report(tmp_path / 'a.json', made(3, multi_label=True), None, 'title')
  assert [file.name for file in files] == ['a.json', 'a.reliability.png']


def test_what_is_drawn(tmp_path, monkeypatch):
  drawn = []
  for module in (confusion, calibration):
    monkeypatch.setattr(module.Figure, 'savefig', lambda figure, *_, **__: drawn.append(figure))
  metrics, names = made(3), [str(number) for number in range(10)]
  confusion.draw_confusion(metrics, names, tmp_path / 'x.png', 't')
  matrix = drawn[-1].axes[0].images[0].get_array()
  np.testing.assert_allclose(matrix, [[0, 1, 0], [2 / 3, 1 / 3, 0], [0, 0, 1]])
  calibration.draw_reliability(metrics, tmp_path / 'x.png', 't')
  bars = drawn[-1].axes[0].patches
  count = np.array(metrics['bins']['count'])
  share, few = metrics['bins']['correct'] / count, count < calibration.FEW
  assert few.any() and not few.all()
  filled = [bar.get_facecolor()[3] > 0 for bar in bars]
  assert filled == [True] * int((~few).sum()) + [False] * int(few.sum())
  heights = [bar.get_height() for bar in bars]
  np.testing.assert_allclose(heights, [*share[~few], *share[few]])
  metrics['bins']['count'][4] = metrics['bins']['correct'][4] = 0
  calibration.draw_reliability(metrics, tmp_path / 'x.png', 't')
  assert len(drawn[-1].axes[0].patches) == 14  # an empty bin has no accuracy

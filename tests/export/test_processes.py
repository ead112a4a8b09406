"""Exports by programs: the same bytes from each, and nothing lost when one is killed."""

import hashlib
import time

import numpy as np
import pytest

from tests.support.imagenet_tars import smooth_image
from tests.support.programs import TIMEOUT
from tests.support.weights_folder import write

for package in ('onnx', 'onnxruntime', 'ai_edge_litert', 'litert_quantizer', 'tensorflow'):
  pytest.importorskip(package)

FORMATS = 'stablehlo,saved_model,onnx,tflite,tflite_f16,tflite_w8,tflite_int8'


def sums(folder):
  return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
          for path in sorted(folder.rglob('*')) if path.is_file()}


@pytest.mark.slow
def test_a_killed_export_and_the_same_bytes_again(tmp_path, run, start):
  write(tmp_path / 'weights')
  (tmp_path / 'photos').mkdir()
  for number in range(4):
    image = smooth_image(np.random.RandomState(number), 70, 80)
    image.save(tmp_path / 'photos' / f'{number}.png')
  out = tmp_path / 'to' / 'out'
  command = (
    '-m', 'ecanet_jax', 'export', str(tmp_path / 'weights'), str(out), f'--format={FORMATS}',
    f'--calibrate={tmp_path / "photos"}',
  )
  done = run(*command, variables={'PYTHONHASHSEED': '1'})
  assert [line.partition(':')[0] for line in done.stdout.splitlines()[:-1]] == FORMATS.split(',')
  before = sums(out)
  assert {'model.onnx', 'model_int8.tflite', 'saved_model/saved_model.pb'} <= set(before)

  process = start(*command)
  end = time.monotonic() + TIMEOUT
  while not (out.with_name('.out.new') / 'model.stablehlo').exists():
    assert process.poll() is None and time.monotonic() < end
    time.sleep(0.02)
  process.kill()
  process.communicate()
  assert sums(out) == before
  assert out.with_name('.out.new').exists()

  run(*command, variables={'PYTHONHASHSEED': '2'})
  assert sums(out) == before
  assert [path.name for path in out.parent.iterdir()] == ['out']

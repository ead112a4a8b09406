"""python -m benchmarks latency: what is measured, tables, picture, mistakes."""

import importlib.util
import json
import sys

import pytest

from benchmarks.__main__ import main
from benchmarks.latency import command, networks, report, runtimes

NAMES = ['efficientnet_b0', 'tf_efficientnet_lite0', 'b0_compact']


def run(monkeypatch, *flags):
  monkeypatch.setattr(sys, 'argv', ['benchmarks', 'latency', *flags])
  return main()


@pytest.fixture
def figures():
  return {
    'machine': {'cpu': 'X', 'cpus': 2, 'system': 'Linux', 'date': '2026-11-27'},
    'versions': {'jax': '0.10.2'}, 'setting': {'image_size': 32, 'rounds': 3, 'calls': 5},
    'networks': NAMES, 'notes': ['OpenVINO is not installed.'],
    'ms': {'1': {'JAX (ours), backend cpu': {
      'efficientnet_b0': [6.0, 8.0, 9.0], 'tf_efficientnet_lite0': [4.0, 5.0, 5.0],
      'b0_compact': [4.0, 4.0, 5.0],
    }, 'PyTorch (timm)': {'efficientnet_b0': [20.0, 22.0, 21.0]}}},
  }


def test_the_tables(figures):
  lines = report.markdown(figures).splitlines()
  rows = {line.split(' | ')[0].strip('| '): line.split(' | ')[1:] for line in lines if '|' in line}
  assert rows['B0'][2:] == ['75.14', '53.94', '8.0 (6.0-9.0)', '21.0 (20.0-22.0) |']
  assert rows['lite (stage 2: MBConv1)'][2:] == ['73.25', '37.69', '5.0 (4.0-5.0)', '- |']
  assert rows['B0 / lite'] == ['1.43', '1.60 (1.50-1.80)', '- |']
  assert rows['lite / compact'] == ['1.21', '1.00 (1.00-1.25)', '- |']
  assert '**1 thread**, ms per image' in lines and lines[-1] == 'OpenVINO is not installed.'


def test_the_picture(figures, tmp_path):
  report.draw(figures, tmp_path / 'latency.png')
  assert (tmp_path / 'latency.png').read_bytes().startswith(b'\x89PNG')


def test_twins_in_the_padding_of_the_table():
  twins = {name: runtimes.twin(name) for name in networks.ROWS if runtimes.twin(name)}
  assert twins == {
    'efficientnet_b0': 'tf_efficientnet_b0', 'eca_efficientnet_b0': 'tf_efficientnet_b0',
    'tf_efficientnet_lite0': 'tf_efficientnet_lite0',
  }


@pytest.mark.parametrize(('flag', 'text'), [
  ('--runtimes=onnx', "unknown runtime 'onnx'. Did you mean 'onnxruntime'?"),
  ('--networks=b0_compct', "Did you mean 'b0_compact'?"),
  ('--networks=faster_rcnn_r50_fpn', 'is a detector, and this program measures classification'),
  ('--threads=0', '--threads=0 must be 1 to '), ('--threads=one', 'must be numbers, such as 1,2.'),
  ('--rounds=0', '--rounds=0 must be at least 1.'),
])
def test_mistakes(flag, text, monkeypatch, capsys):
  assert run(monkeypatch, flag) == 2
  error = capsys.readouterr().err
  assert text in error and error.count('\n') == 1


def test_a_runtime_that_is_not_installed(monkeypatch, capsys):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  assert run(monkeypatch, '--runtimes=openvino') == 2
  assert capsys.readouterr().err == (
    "error: nothing was measured. OpenVINO is not installed: pip install 'openvino onnx'.\n"
  )


@pytest.mark.slow
def test_measures_every_runtime(tmp_path, monkeypatch, capsys):
  pytest.importorskip('ai_edge_litert')
  pytest.importorskip('openvino')
  assert run(
    monkeypatch, '--networks=tf_efficientnet_lite0', '--image_size=32', '--rounds=2', '--calls=1',
    '--threads=1', f'--out={tmp_path}',
  ) == 0
  content = json.loads((tmp_path / 'latency.json').read_text())
  measured = content['ms']['1']
  assert set(measured) == {
    'JAX (ours), backend xla',
    *(entry.label for name, entry in command.RUNTIMES.items() if name != 'jax'),
  }
  assert all(min(each['tf_efficientnet_lite0']) > 0 for each in measured.values())
  assert not content['notes']
  assert (tmp_path / 'latency.md').read_text() in capsys.readouterr().out
  assert (tmp_path / 'latency.png').stat().st_size > 10_000

"""What is read out of a compiled program; tests/aot/program.hlo is a shortened one."""

import dataclasses
import json
import pathlib
import re

import pytest

from ecanet_jax.aot.hlo import Hlo, parse
from ecanet_jax.aot.program import Program
from ecanet_jax.aot.report import (
  Collective,
  batch_warnings,
  kind_of,
  largest_arrays,
  make_report,
)
from ecanet_jax.aot.text import lines

TEXT = (pathlib.Path(__file__).parent / 'program.hlo').read_text()
PROGRAM = Program(
  network='tiny', topology='v5e:2x2', step='train', compute_dtype='bfloat16', chips=4,
  batch_size=512, image_size=8, text=TEXT,
  memory={
    'peak': 3 * 10**9, 'arguments': 10**9, 'outputs': 10**9, 'temporaries': 2 * 10**9,
    'aliased': 10**9,
  },
  flops=1.97e12, bytes_accessed=8.19e9, versions={'jax': '0.10.2', 'libtpu': '0.0.42.1'},
  seconds=60.0,
)
IMAGES = 128 * 8 * 8 * 16 * 2  # bytes of a chip's activations


@pytest.fixture
def hlo() -> Hlo:
  return parse(TEXT)


def named(hlo, name):
  return next(each for each in hlo.all() if each.name == name)


def test_every_computation_is_read(hlo):
  assert hlo.entry == 'main.1'
  assert {name: len(lines) for name, lines in hlo.computations.items()} == {
    'region_1.0': 3, 'transposed': 2, 'convolved': 5, 'gather_started': 3, 'gather_done': 2,
    'body': 4, 'condition': 4, 'main.1': 12,
  }


def test_results_with_several_arrays(hlo):
  fusion = named(hlo, 'fusion.1')
  assert fusion.arrays == [('f32', (16,)), ('bf16', (128, 8, 8, 16))]
  assert fusion.bytes == 64 + IMAGES
  assert named(hlo, 'constant.7').bytes == 4  # no dimensions


def test_a_loop_counts_as_often_as_it_runs(hlo):
  loop = named(hlo, 'while.5')
  assert hlo.trips(loop) == 3
  assert hlo.trips(named(hlo, 'fusion.1')) == 0
  times = {each.name: count for each, count in hlo.scheduled()}
  assert times['fusion.20'] == 3 and times['fusion.1'] == 1
  assert 'convolution.3' not in times  # inside of a fusion
  other = parse(TEXT.replace('direction=LT', 'direction=NE'))
  assert other.trips(named(other, 'while.5')) == 0


@pytest.mark.parametrize(('name', 'kind'), [
  ('fusion.1', 'convolution, forward'), ('fusion.2', 'BatchNorm'), ('fusion.3', 'attention'),
  ('copied', 'copies'), ('fusion.20', 'depthwise, backward'), ('fusion.6', 'rest'),
  ('copy-start.1', 'rest'),
])
def test_kinds(hlo, name, kind):
  assert kind_of(hlo, named(hlo, name)) == kind


def test_cycles():
  report = make_report(PROGRAM)
  assert report.cycles == {
    'convolution, forward': 1000, 'convolution, backward': 0, 'depthwise, forward': 0,
    'depthwise, backward': 300, 'BatchNorm': 200, 'attention': 30, 'copies': 400, 'rest': 7,
  }
  assert report.seconds == pytest.approx(1937 / 1.5e9)
  assert report.images_per_second == pytest.approx(128 * 1.5e9 / 1937)
  assert report.roofline == pytest.approx({'flops': 0.01, 'bytes': 0.01})


def test_arrays_in_hbm(hlo):
  assert named(hlo, 'fusion.1').in_hbm == [(IMAGES, 'bf16[128,8,8,16]')]  # the other is in S(1)
  largest, *_ = largest_arrays(hlo)
  assert largest.startswith('5 x bf16[128,8,8,16], 262.14 kB each: BatchNorm; convolution, forward')
  assert make_report(PROGRAM).largest_arrays[0] == largest


def test_collectives_and_copies():
  report = make_report(PROGRAM)
  assert report.collectives == [
    Collective('all-gather', 'bf16', 1, 512 * 16 * 2, 512 * 16 * 2),  # two halves of one
    Collective('all-reduce', 'f32', 1, 128, 128),
  ]
  assert report.copies == {'count': 1, 'bytes': IMAGES, 'largest': IMAGES}
  assert report.largest_copies[0].startswith('fusion bf16[128,8,8,16] (262.14 kB) jit(train_step)')
  assert report.custom_calls == {'AsyncCollectiveStart': 1} and report.loops == [3]


def test_a_gather_of_the_batch_is_a_fault():
  (fault,) = make_report(PROGRAM).faults
  assert fault.startswith('the batch is gathered: all-gather bf16[512,16] (16.38 kB)')
  assert make_report(dataclasses.replace(PROGRAM, batch_size=1024)).faults == []


def test_the_detections_of_an_evaluation_may_be_gathered():
  text = """HloModule evaluation

ENTRY %main (x: f32[2,100,4]) -> (f32[8,100,4]) {
  %x = f32[2,100,4]{2,1,0} parameter(0)
  %images = f32[8,64,64,3]{3,2,1,0} all-gather(%x), channel_id=1
  %boxes = f32[8,100,4]{2,1,0} all-gather(%x), channel_id=2
  ROOT %results = (f32[8,100,4]{2,1,0}) tuple(%boxes)
}
"""
  detector = dataclasses.replace(
    PROGRAM, network='mask_rcnn_r50_fpn', step='eval', batch_size=8, chips=4, text=text)
  (fault,) = make_report(detector).faults
  assert 'f32[8,64,64,3]' in fault and not make_report(detector).warnings
  assert len(make_report(dataclasses.replace(detector, step='train')).faults) == 2


@pytest.mark.parametrize(('batch_size', 'chips', 'advice'), [
  (512, 4, 0), (1024, 8, 0), (1024, 256, 32768), (1000, 4, 1024), (64, 1, 128),
])
def test_lanes(batch_size, chips, advice):
  found = batch_warnings(batch_size, chips, 128)
  assert bool(found) == bool(advice)
  if advice:
    assert f'{batch_size // chips} images a chip are no multiple of 128' in found[0]
    assert f'--config.batch_size={advice} would' in found[0]
  assert batch_warnings(batch_size, chips, 1) == []


def test_text_and_json_say_that_nothing_is_measured():
  report = make_report(PROGRAM)
  text = lines(report)
  assert text[0].startswith('From the compiled program, not from a device.')
  assert any(line.startswith('estimate ') and 'without network' in line for line in text)
  assert any(line.startswith('loops        1, times: 3') for line in text)
  assert 'fusions      10, of which 10 write less than 1.00 MB' in text
  figures = json.loads(json.dumps(report.to_json()))
  assert figures['source'] == 'from the compiled program, not from a device'
  assert figures['estimated_images_per_second_per_chip'] == pytest.approx(report.images_per_second)


def test_a_gpu_has_no_cycles_and_says_so():
  text = re.sub(r'"estimated_cycles":"\d+"', '', TEXT)
  report = make_report(dataclasses.replace(PROGRAM, topology='h100:4', batch_size=500, text=text))
  assert (report.cycles, report.seconds, report.images_per_second) == ({}, None, None)
  assert report.warnings == []
  assert report.roofline_images_per_second == pytest.approx(125 / (8.19e9 / 3352e9))
  printed = lines(report)
  assert not any(line.startswith('cycles') for line in printed)
  (estimate,) = (line for line in printed if line.startswith('estimate'))
  assert estimate.endswith(
    'none, because this compiler counts no cycles. The roofline alone would be 51,160 images/s a '
    'chip.'
  )
  assert json.loads(json.dumps(report.to_json()))['estimated_images_per_second_per_chip'] is None

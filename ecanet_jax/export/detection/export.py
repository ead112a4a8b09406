"""Writes a detector as StableHLO, and compares its detections with those of JAX."""

import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.export
import numpy as np
import safetensors.numpy

from ecanet_jax.export import manifest
from ecanet_jax.export.detection import images as pictures
from ecanet_jax.export.detection.images import Images
from ecanet_jax.export.detection.matches import BOX, Matches
from ecanet_jax.export.detection.program import (
  DetectorProgram,
  Found,
  float32_model,
  named,
  program_of,
)
from ecanet_jax.export.options import ExportOptions
from ecanet_jax.export.stablehlo import count_operators, without_source_locations
from ecanet_jax.export.target import replaced_folder
from ecanet_jax.inference.detector import TrainedDetector
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, closest
from ecanet_jax.tasks.detection.detection import normalised

TASK, FILE, REFERENCE = 'detection', 'model.stablehlo', 'reference.safetensors'
_LOOPS = 'a detector has loops (while, of NMS), sorts and gathers, which the writer does not know'
REASONS = {  # why a format has no detectors
  'onnx': _LOOPS,
  'saved_model': 'TensorFlow does not read the operator top_k of a detector as JAX writes it',
  'tflite': _LOOPS,
}


def check_formats(formats: Sequence[str]) -> None:
  """Raises UserError for a format that detectors do not have."""
  for name in formats:
    if reason := REASONS.get('tflite' if name.startswith('tflite') else name):
      raise UserError(f'{name}: {reason}; write --format=stablehlo.')


def find_bucket(detector: TrainedDetector, size: tuple[int, int] | None) -> tuple[int, int]:
  """The bucket of a size, height and width in pixels; None = the first.

  Raises:
    UserError: the detector has no such bucket.
  """
  buckets = detector.settings.buckets
  if size is None or size in buckets:
    return size or buckets[0]
  text, known = 'x'.join(map(str, size)), ['x'.join(map(str, each)) for each in buckets]
  raise UserError(
    f'--image_size={text} is no size of this detector.{closest(text, known)} Known: '
    f'{", ".join(known)} (height x width).')


def export_detector(
  detector: TrainedDetector, out: str | os.PathLike,
  options: ExportOptions | None = None, *, size: tuple[int, int] | None = None,
  preprocess: str = 'beside', files: Sequence[str] = (), tolerance: float = 0.0,
  labels: bool = False, report: Callable[[str], None] = print,
) -> None:
  """Writes model.stablehlo and export.json to a folder; both or nothing.

  Args:
    detector: from `inference.detector.load_detector`.
    out: the folder; a former export there is replaced.
    options: `batch` (None = 1), `platforms` and `force`.
    size: one of the buckets, height and width in pixels; None = the first.
    preprocess: a name of `forward.PREPROCESS`.
    files: pictures to compare on, beside the noise.
    tolerance: of the boxes, relative to the longer side of the images; 0 = `matches.BOX`.
    labels: also write the names of the classes to labels.txt.
    report: is called with a line about the file.

  Raises:
    UserError: an unknown size, a picture that cannot be read, detections that differ, none that
      could be compared, or a folder that holds something else.
  """
  options = options or ExportOptions()
  size = find_bucket(detector, size)
  program = program_of(detector, size, batch=options.batch or 1, preprocess=preprocess)
  limit, samples = (tolerance or BOX) * max(size), [pictures.noise(size)]
  if files:
    chosen = pictures.pictures(detector, files, size)
    if chosen is None:
      raise UserError(
        f'--check: none of {len(files)} pictures has the shape of {size[0]} x {size[1]} pixels; '
        'give others, or another --image_size=HEIGHTxWIDTH.')
    samples.append(chosen)
  reference = _reference(detector)
  ours = [pictures.run(reference, each.pixels, each.sizes, program.batch) for each in samples]
  with replaced_folder(paths.absolute(paths.to_path(out))) as folder:
    path = folder / FILE
    start = time.monotonic()
    write(program, path, options.platforms)
    seconds, call = time.monotonic() - start, load(path)
    found = [_found(call, detector, program, each) for each in samples]
    matches = [Matches.of(*pair) for pair in zip(found, ours, strict=True)]
    report(_line(path, seconds, samples, matches))
    if not options.force:
      judge(samples, matches, limit)
    (folder / REFERENCE).write_bytes(safetensors.numpy.save(ours[0]))
    if labels:
      (folder / manifest.LABELS).write_text('\n'.join(detector.label_names) + '\n')
    entry = {
      'path': FILE, 'files': manifest.checksums(path, folder),
      'operators': dict(sorted(_operators(path).items())), 'limit': limit,
      'compared': {each.kind: match.to_json() for each, match in zip(samples, matches)},
    }
    content = _content(detector, program) | {
      'platforms': list(options.platforms), 'versions': manifest.versions(),
      'formats': {'stablehlo': entry}, 'classes': list(detector.label_names)}
    manifest.write(folder, content, folder / REFERENCE)


def check_again(
  folder: pathlib.Path, content: dict[str, Any], report: Callable[[str], None]
) -> None:
  """Loads an exported detector and compares its detections on noise with those of the export.

  Args:
    folder: of the export.
    content: of its export.json, whose checksums are right.
    report: is called with a line.

  Raises:
    UserError: the file finds something else by now.
  """
  ours = safetensors.numpy.load((folder / REFERENCE).read_bytes())
  images, entry = pictures.noise(tuple(content['image_shape'][:2])), content['formats']['stablehlo']
  given = images.pixels.astype(np.float32)
  if content['preprocess'] == 'beside':
    rules = content['preprocessing']
    given = normaliser(rules['mean'], rules['std'])(images.pixels, images.sizes)
  path = folder / entry['path']
  match = Matches.of(
    pictures.run(load(path), np.asarray(given), images.sizes, content['batch']), ours)
  before = entry['compared'][images.kind]
  more = dataclasses.replace(match, alone=max(match.alone - before['alone'], 0))
  if fault := more.fault(max(entry['limit'], 2 * before['box'])):
    raise UserError(f'{path} does not find what it did: {fault}; export again.')
  report(f'stablehlo: checksums equal; on {match.images} {images.kind} {match}')


def write(program: DetectorProgram, path: pathlib.Path, platforms: Sequence[str]) -> None:
  """Writes a program as StableHLO."""
  with without_source_locations():
    exported = jax.export.export(jax.jit(program.apply), platforms=platforms)(*program.types)
  path.write_bytes(bytes(exported.serialize()))


def load(path: pathlib.Path) -> Callable[[np.ndarray, np.ndarray], Found]:
  """Loads a StableHLO file; it takes images and sizes."""
  call = jax.jit(jax.export.deserialize(bytearray(path.read_bytes())).call)
  return lambda images, sizes: jax.device_get(call(images, sizes))


def _operators(path: pathlib.Path):
  exported = jax.export.deserialize(bytearray(path.read_bytes()))
  return count_operators(exported.mlir_module_serialized)


def normaliser(mean, std) -> Callable[[np.ndarray, np.ndarray], jax.Array]:
  """Maps pixels, uint8, and sizes of images to a network's input; see `normalised`."""
  mean, std = (np.asarray(each, np.float32) for each in (mean, std))
  return jax.jit(lambda pixels, sizes: normalised(pixels, sizes, mean, std))


def _reference(detector: TrainedDetector) -> Callable[[np.ndarray, np.ndarray], Found]:
  """What the network finds in JAX, with its BatchNorm as it is; takes pixels, uint8, and sizes."""
  model, normalise = float32_model(detector), normaliser(detector.mean, detector.std)
  program = jax.jit(lambda variables, images, sizes: named(
    *model.apply(variables, normalise(images, sizes), train=False, image_sizes=sizes)))
  return lambda *given: jax.device_get(program(detector.variables, *given))


def _found(
  call: Callable, detector: TrainedDetector, program: DetectorProgram, images: Images
) -> Found:
  given = pictures.as_given(images, program, normaliser(detector.mean, detector.std))
  return pictures.run(call, given, images.sizes, program.batch)


def _line(
  path: pathlib.Path, seconds: float, samples: list[Images], matches: list[Matches]
) -> str:
  shown = '; '.join(
    f'on {match.images} {each.kind} {match}' for each, match in zip(samples, matches))
  return (f'stablehlo: {path.stat().st_size / 1e6:.1f} MB, {seconds:.1f} s, '
          f'{sum(_operators(path).values())} operators; {shown}')


def judge(samples: list[Images], matches: list[Matches], limit: float) -> None:
  """Refuses a file that finds something else, or that could not be compared."""
  for each, match in zip(samples, matches):
    if fault := match.fault(limit):
      raise UserError(
        f'stablehlo: on {each.kind} {fault}, and nothing is written; write it all the same '
        'with --force.')
  if not any(match.found for match in matches):
    raise UserError(
      f'stablehlo: the network finds nothing on {matches[-1].images} {samples[-1].kind}, so that '
      'nothing is compared; give --check=DIR with pictures of its objects, or write it all the '
      'same with --force.')


def _content(detector: TrainedDetector, program: DetectorProgram) -> dict[str, Any]:
  """What export.json says of the network."""
  preset, settings = detector.model.preset, detector.settings
  kind = 'pixels from 0 to 255' if program.preprocess == 'inside' else 'normalised'
  last = ('x2 and y2 are the last pixels inside' if preset.pixel else
          'x2 and y2 are the edges of the box')
  meanings = {
    'boxes': f'x1, y1, x2, y2 in pixels of the input; {last}',
    'scores': 'the best first', 'labels': 'number of the class, from 0',
    'valid': 'which rows are detections; the others are 0',
    'masks': "probabilities within the box, to be resized to it; the object is above 0.5",
  }
  return {
    'task': TASK, 'network': detector.name, 'rules': preset.name,
    'image_shape': [*program.size, 3], 'batch': program.batch,
    'inputs': {
      'images': f'float32 {list(program.types[0].shape)}, {kind}, zeros right of and below each',
      'image_sizes': f'int32 {list(program.types[1].shape)}, height and width without the zeros',
    },
    'outputs': {key: f'{value.dtype} {list(value.shape)}, {meanings[key]}'
                for key, value in program.outputs().items()},
    'preprocess': program.preprocess,
    'preprocessing': {
      'resize': f'bilinear; the shorter side to {settings.shorter} pixels, unless the longer would '
                f'be above {settings.longer}',
      'shorter': settings.shorter, 'longer': settings.longer,
      'padded_to': list(program.size), 'mean': list(detector.mean), 'std': list(detector.std),
      'exif': detector.exif,
    },
    'score_threshold': preset.score, 'detections': preset.detections,
    'parameters': program.parameters,
  }

"""Writes a network in several formats, compares each file with JAX, and then keeps them."""

import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ecanet_jax.export import check, manifest
from ecanet_jax.export.check import Difference
from ecanet_jax.export.detection import export as detection
from ecanet_jax.export.formats import FORMATS, Format
from ecanet_jax.export.forward import Forward, float32_model, forward_of
from ecanet_jax.export.options import ExportOptions
from ecanet_jax.export.static_gates import Gates
from ecanet_jax.export.target import replaced_folder
from ecanet_jax.inference.classifier import Classifier
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, lookup


@dataclasses.dataclass(frozen=True)
class Report:
  """What became of one format.

  Attributes:
    format: its name.
    bytes: of the file or folder.
    seconds: that writing took.
    operators: how often each occurs.
    convolutions: among them.
    expected: convolutions of the network.
    noise: the difference on noise.
    photographs: the difference on photographs; None = there were none.
  """

  format: str
  bytes: int
  seconds: float
  operators: Mapping[str, int]
  convolutions: int
  expected: int
  noise: Difference
  photographs: Difference | None = None

  @property
  def largest(self) -> float:
    """The largest difference of all images."""
    return max(each.largest for each in (self.noise, self.photographs) if each)

  def __str__(self) -> str:
    shown = self.photographs or self.noise
    kind = 'photographs' if self.photographs else 'images of noise'
    return (
      f'{self.format}: {self.bytes / 1e6:.1f} MB, {self.seconds:.1f} s, '
      f'{sum(self.operators.values())} operators ({self.convolutions} of {self.expected} '
      f'convolutions), largest difference {self.largest:.1e}, top-1 equal on {shown.top1} of '
      f'{shown.images} {kind}'
    )


def export(
  classifier: Classifier, out: str | os.PathLike, formats: Sequence[str],
  options: ExportOptions | None = None, *, preprocess: str = 'beside', image_size: int = 0,
  static_attention: Gates | None = None, photographs: np.ndarray | None = None,
  tolerance: float = 0.0, labels: bool = False, report: Callable[[Report], None] = print,
) -> None:
  """Writes the files and export.json to a folder; all of them or none.

  Args:
    classifier: from `inference.classifier.load`.
    out: the folder; a former export there is replaced.
    formats: names of FORMATS.
    options: how the files are written.
    preprocess: a name of `forward.PREPROCESS`.
    image_size: in pixels; 0 = that of the preprocessing.
    static_attention: see `forward_of`.
    photographs: pixels `[N, H, W, C]` from 0 to 255, of that size, or None.
    tolerance: instead of the formats' own, where they have no `cosine`; 0 = their own.
    labels: also write the names of the classes to labels.txt.
    report: is called with the result of each format.

  Raises:
    UserError: an unknown format, a runtime that is not installed, a network that a format cannot
      have, a difference above the tolerance, or a folder that holds something else.
  """
  options = options or ExportOptions()
  chosen = [lookup(FORMATS, name, 'format') for name in dict.fromkeys(formats)]
  if labels and not classifier.label_names:
    raise UserError('--labels: the weights have no names of classes; leave --labels out.')
  forwards = {
    backend: forward_of(
      classifier, preprocess=preprocess, static_attention=static_attention, backend=backend,
      image_size=image_size,
    )
    for backend in dict.fromkeys(each.backend for each in chosen)
  }
  forward = next(iter(forwards.values()))
  samples = [check.noise(forward.image_shape)]
  if photographs is not None:
    samples.append(photographs)
  ours = [_reference(classifier, forward, bool(static_attention), each) for each in samples]
  with replaced_folder(paths.absolute(paths.to_path(out))) as folder:
    entries = {}
    for each in chosen:
      path = folder / file_name(each)
      start = time.monotonic()
      each.write(forwards[each.backend], path, options)
      seconds = time.monotonic() - start
      differences = _differences(each, path, forward, samples, ours, options.batch)
      found = each.operators(path)
      result = Report(
        each.name, manifest.size(path), seconds, dict(found), each.convolutions(found),
        forwards[each.backend].convolutions, *differences,
      )
      _judge(each, result, tolerance, options.force)
      report(result)
      entries[each.name] = {
        'path': path.name, 'files': manifest.checksums(path, folder),
        'operators': dict(sorted(found.items())), 'convolutions': result.convolutions,
        'noise': result.noise.to_json(),
        'photographs': result.photographs and result.photographs.to_json(),
        'tolerance': None if each.cosine else tolerance or each.tolerance, 'cosine': each.cosine,
      }
    if labels:
      (folder / manifest.LABELS).write_text('\n'.join(forward.classes) + '\n')
    np.save(folder / manifest.REFERENCE, ours[0])
    content = _content(forward, options, static_attention, entries)
    manifest.write(folder, content, folder / manifest.REFERENCE)


def check_again(out: str | os.PathLike, report: Callable[[str], None] = print) -> None:
  """Loads every file of an export and compares its outputs of noise with those of the export.

  Args:
    out: the folder.
    report: is called with a line for each format.

  Raises:
    UserError: a file is missing, damaged, or computes something else by now.
  """
  folder = paths.to_path(out)
  content = manifest.read(folder)
  if content.get('task') == detection.TASK:
    detection.check_again(folder, content, report)
    return
  ours = np.load(folder / manifest.REFERENCE)
  pixels = check.noise(content['image_shape'])
  given = _as_given(pixels, content['preprocess'], content['preprocessing'])
  for name, entry in content['formats'].items():
    each = lookup(FORMATS, name, 'format')
    logits = check.run(each.load(folder / entry['path']), given, content['batch'])
    found = Difference.of(logits, ours)
    before = entry['noise']
    if entry['cosine']:  # a format that loses accuracy; other hardware and versions round otherwise
      same = found.cosine >= before['cosine'] - 0.01
    else:
      same = found.largest <= max(entry['tolerance'], 2 * before['largest_difference'])
    if not same:
      raise UserError(
        f'{folder / entry["path"]} does not compute what it did: difference {found.largest:.1e}, '
        f'cosine {found.cosine:.4f} on noise; export again.'
      )
    report(f'{name}: checksums equal, largest difference {found.largest:.1e}, top-1 equal on '
           f'{found.top1} of {found.images} images of noise')


def file_name(each: Format) -> str:
  """The name of a format's file in the folder: model.onnx, model_f16.tflite, saved_model."""
  if not each.suffix:
    return each.name
  variant = each.name.partition('_')[2]
  return f'model_{variant}{each.suffix}' if variant else f'model{each.suffix}'


def _reference(
  classifier: Classifier, forward: Forward, is_static: bool, pixels: np.ndarray
) -> np.ndarray:
  """Our logits: of the network as it is, or with its attention as constants."""
  if is_static:
    images = _as_given(pixels, forward.preprocess, forward.preprocessing)
    return check.run(jax.jit(forward.apply), images, batch=None)
  model = float32_model(classifier)
  program = jax.jit(lambda images: model.apply(classifier.variables, images, train=False))
  images = check.normalised(pixels, forward.preprocessing)
  return np.asarray(check.run(program, images, batch=None), np.float32)


def _as_given(pixels: np.ndarray, preprocess: str, preprocessing: Mapping[str, Any]) -> np.ndarray:
  """Pixels as a file takes them."""
  return pixels if preprocess == 'inside' else check.normalised(pixels, preprocessing)


def _differences(
  each: Format, path: pathlib.Path, forward: Forward, samples: list[np.ndarray],
  ours: list[np.ndarray], batch: int | None,
) -> list[Difference]:
  program = each.load(path)
  return [
    Difference.of(
      check.run(program, _as_given(pixels, forward.preprocess, forward.preprocessing), batch), own
    )
    for pixels, own in zip(samples, ours)
  ]


def _judge(each: Format, result: Report, tolerance: float, force: bool) -> None:
  """Refuses a file that computes something else, unless it is wanted all the same."""
  limit, decides = tolerance or each.tolerance, result.photographs or result.noise
  lost = f'top-1 equal on {decides.top1} of {decides.images}'
  if force:
    return
  if each.cosine:
    if decides.cosine >= each.cosine:
      return
    raise UserError(
      f'{each.name}: this network loses by it: the cosine to its logits is {decides.cosine:.3f}, '
      f'below {each.cosine:g}, {lost}; leave it out, or write it all the same with --force.'
    )
  if result.largest > limit:
    raise UserError(
      f'{each.name}: the logits differ by {result.largest:.1e} of the largest, more than '
      f'{limit:g}, {lost}; allow it by --tolerance={2 * result.largest:.0e}.'
    )


def _content(
  forward: Forward, options: ExportOptions, static_attention: Gates | None, entries: dict[str, Any]
) -> dict[str, Any]:
  return {
    'network': forward.name, 'image_shape': list(forward.image_shape), 'batch': options.batch,
    'input': 'float32 [batch, height, width, channels], '
             + ('pixels from 0 to 255' if forward.preprocess == 'inside' else 'normalised'),
    'preprocess': forward.preprocess, 'preprocessing': dict(forward.preprocessing),
    'outputs': forward.num_classes, 'multi_label': forward.multi_label,
    'parameters': forward.parameters, 'static_attention': sorted(static_attention or ()),
    'platforms': list(options.platforms), 'versions': manifest.versions(), 'formats': entries,
    'classes': list(forward.classes) if forward.classes else None,
  }

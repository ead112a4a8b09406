"""`predict` with the training of a detector: the objects on pictures, with boxes and masks."""

import argparse
import csv
import io
import json
import sys
from typing import Any

from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError


def predict_objects(images: list[str], args: argparse.Namespace) -> list[dict[str, Any]]:
  """Finds objects and prints a line for each picture; writes what `predict`'s flags ask for.

  Returns:
    {'path', 'objects'} or {'path', 'error'} of each picture.

  Raises:
    UserError: a flag of classification, a training that cannot be read, or a file that cannot be
      written.
  """
  from ecanet_jax.inference.detection_picture import draw
  from ecanet_jax.inference.detector import as_json, load_detector

  if args.cam:
    raise UserError(f'--cam is for classification networks, and {args.weights} has a detector.')
  detector = load_detector(args.weights, kind=args.kind, checkpoint=args.checkpoint)
  names, results, drawn = detector.label_names, [], []
  for path in images:
    try:
      image = detector.image(path)
    except UserError as error:
      results.append({'path': path, 'error': str(error)})
      print(f'error: {error}', file=sys.stderr)
      continue
    found = detector.find(image)
    objects = as_json(found, names, args.score)
    results.append({'path': path, 'objects': objects})
    if paths.STANDARD_OUTPUT not in (args.json, args.csv):
      listed = ', '.join(f'{each["name"]} {100 * each["score"]:.0f} %' for each in objects)
      print(f'{path}  {listed or "nothing"}', flush=True)
    if args.png:
      drawn.append((path, draw(image, found, names, least=args.score)))
  if args.json:
    paths.write_or_print(args.json, json.dumps(results, indent=2, ensure_ascii=False) + '\n')
  if args.csv:
    paths.write_or_print(args.csv, _as_csv(results))
  if drawn:
    _write_picture(args.png, drawn)
  return results


def _as_csv(results: list[dict[str, Any]]) -> str:
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(('path', 'rank', 'label', 'name', 'score', 'x1', 'y1', 'x2', 'y2'))
  for result in results:
    for rank, each in enumerate(result.get('objects', ()), start=1):
      score = f'{each["score"]:.6g}'
      writer.writerow((result['path'], rank, each['label'], each['name'], score, *each['box']))
  return text.getvalue()


def _write_picture(name: str, drawn: list) -> None:
  """One picture in its own size, or a sheet of several."""
  from ecanet_jax.inference import contact_sheet

  picture = drawn[0][1]
  if len(drawn) > 1:
    picture = contact_sheet.contact_sheet([
      contact_sheet.Entry(paths.to_path(path).name, image, ())
      for path, image in drawn[: contact_sheet.MOST]
    ])
  content = io.BytesIO()
  picture.save(content, 'PNG')
  paths.write_whole(paths.to_path(name), content.getvalue())

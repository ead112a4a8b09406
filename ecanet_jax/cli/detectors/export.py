"""`export` with the training of a detector: StableHLO with fixed shapes."""

import argparse
from collections.abc import Sequence

from ecanet_jax.runtime.errors import UserError

MOST = 50  # pictures that the file is compared on
NOT_FOR_DETECTORS = ('calibrate', 'static_attention', 'preprocessing')


def export_objects(
  args: argparse.Namespace, formats: Sequence[str], platforms: tuple[str, ...],
  size: tuple[int, int] | None,
) -> None:
  """Exports, and prints a line about the file.

  Args:
    args: of the command.
    formats: names of formats.
    platforms: of the file.
    size: height and width in pixels; None = the detector's first bucket.

  Raises:
    UserError: a flag or a format that is not for detectors, or a file that finds something else.
      Nothing is written then.
  """
  from ecanet_jax.export.detection.export import check_formats, export_detector, find_bucket
  from ecanet_jax.export.options import ExportOptions
  from ecanet_jax.inference.detector import load_detector
  from ecanet_jax.inference.find_images import find_images

  check_formats(formats)
  for flag in NOT_FOR_DETECTORS:
    if given := getattr(args, flag):
      raise UserError(
        f'--{flag}={given} is for classification networks, and {args.run} has a detector; leave '
        f'--{flag} out.')
  if args.batch == 'dynamic':
    raise UserError('--batch=dynamic: a detector has fixed shapes; give a number, or leave it out.')
  files = find_images([args.check]) if args.check else []
  detector = load_detector(args.run, kind=args.kind, checkpoint=args.checkpoint)
  find_bucket(detector, size)
  options = ExportOptions(int(args.batch or 1), platforms, force=args.force)
  export_detector(
    detector, args.out, options, size=size, preprocess=args.preprocess,
    files=files[:: -(-len(files) // MOST) or 1], tolerance=args.tolerance, labels=args.labels,
    report=lambda line: print(line, flush=True),
  )
  print(f'{args.run} -> {args.out}')

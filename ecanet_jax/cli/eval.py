"""`eval`: evaluates weights on a data set.

    ecanet_jax eval --workdir=DIR
    ecanet_jax eval --weights_file=PATH --config=RECIPE

The weights are those of a training (--workdir), or converted weights, a timm folder or a file
(--weights_file; a file also needs --config.model.name=NAME). The config gives the data set and the
batch size; without --config it is the training's own. The weights give the preprocessing of the
images; --preprocessing or keys such as --config.data.mean=... change it. The result is printed as a
line to read and as JSON. The report has accuracy by class, confusion and calibration.
"""

import argparse

from ecanet_jax.cli import devices
from ecanet_jax.cli.arguments import Parser, Renamed, keys_of, parse_overrides
from ecanet_jax.cli.config import load_config, load_stored_config
from ecanet_jax.cli.training_packages import check_packages
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.log import start_log

parse = parse_overrides


def add_arguments(parser: Parser) -> None:
  """Adds the command's arguments to `parser`."""
  parser.epilog = (
    'Any config key may be given as --config.KEY=VALUE; =None unsets an optional one.'
  )
  parser.add_argument('--workdir', default='', help='directory of the training')
  parser.add_argument(
    '--config', default='',
    help="a recipe, as for train (default with --workdir: the training's own config)",
  )
  parser.add_argument(
    '--weights_file', default='', metavar='PATH',
    help='instead of --workdir: a .safetensors, .npz or PyTorch file of the network '
    '--config.model.name, a timm folder, or the output of `convert`',
  )
  parser.add_argument(
    '--checkpoint', default='last', help='step of the training: last (default), best, or a number'
  )
  parser.add_argument(
    '--kind', default='ema', choices=('ema', 'raw'),
    help='the averaged weights, where there are any (default), or the raw ones',
  )
  parser.add_argument(
    '--dialect', default='timm', help='the code whose names a --weights_file has (default: timm)'
  )
  parser.add_argument(
    '--preprocessing', default='weights',
    help='weights (default: what is stored with them; for a file, the default of its network), '
    'config, tf, lite, timm, torchvision, keras, inception',
  )
  parser.add_argument(
    '--tta', default='none',
    help='test-time augmentation: none (default), flip, five (crops), ten; the logits are averaged',
  )
  parser.add_argument(
    '--json', default='', metavar='FILE',
    help='report as a JSON file, with pictures beside it (default with --workdir: a file in '
    'WORKDIR/evaluation)',
  )
  devices.add_arguments(parser)
  for old, new in {
    '--preset': '--preprocessing={}',
    '--weights': '--kind=ema, --kind=raw, or --weights_file=PATH',
  }.items():
    parser.add_argument(old, action=Renamed, const=new, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
  """Evaluates and returns 0.

  Raises:
    UserError: a mistake in the arguments, the config, the weights or the data.
  """
  start_log()
  if bool(args.workdir) == bool(args.weights_file):
    raise UserError('give either --workdir=DIR or --weights_file=PATH.')
  if not args.config and not args.workdir:
    raise UserError('--weights_file needs a data set: give --config=RECIPE, too.')
  config = (
    load_config(args.config, args.overrides) if args.config
    else load_stored_config(args.workdir, args.overrides)
  )
  check_packages(config)
  from ecanet_jax.evaluation.evaluate_weights import evaluate_weights

  devices.start(args)
  evaluate_weights(
    config, args.workdir or args.weights_file, checkpoint=args.checkpoint, kind=args.kind,
    dialect=args.dialect, preprocessing=args.preprocessing, given=keys_of(args.overrides),
    tta=args.tta, report=args.json or (args.workdir and f'{args.workdir}/evaluation'),
  )
  return 0

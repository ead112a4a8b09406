"""doctor --train CONFIG: looks at a training before it is started."""

import argparse

from ecanet_jax.cli.doctor.report import print_findings
from ecanet_jax.runtime import paths


def run(args: argparse.Namespace) -> int:
  """Prints what the first steps show, or searches a learning rate; returns 1 if it is broken.

  Raises:
    UserError: a mistake in the config or the data.
  """
  from ecanet_jax.cli.config import load_config
  from ecanet_jax.cli.training_packages import check_packages

  config = load_config(args.train, args.overrides)
  check_packages(config)
  from ecanet_jax.cli.doctor import findings, first_steps, learning_rate

  trainer, state = first_steps.open_training(config)
  if args.find_lr:
    found = learning_rate.find(trainer, state)
    learning_rate.draw(
      found, paths.to_path(args.find_lr), f'{config.model.name} on {config.data.name}',
      config.schedule.lr,
    )
    print(f'suggestion: --config.schedule.lr={found.suggestion:.2g} (now {config.schedule.lr:g}, '
          f'both per 256 images); {args.find_lr} shows why')
    return 0
  worst = print_findings(findings.look_for(trainer, first_steps.measure(trainer, state)))
  print(('nothing looks wrong', 'see the warnings', 'broken: see above')[worst])
  return int(worst == 2)

"""Trains a network: python train.py --config=configs/eca_b0.py --workdir=DIR [--config.KEY=VALUE]

The same as `ecanet_jax train`. The same command again resumes from the newest checkpoint in DIR.
"""

import sys

from ecanet_jax.cli import main

if __name__ == '__main__':
  sys.exit(main(['train', *sys.argv[1:]], 'train.py'))

"""Evaluates weights: python eval.py --workdir=DIR, or --weights_file=PATH --config=RECIPE

The same as `ecanet_jax eval`.
"""

import sys

from ecanet_jax.cli import main

if __name__ == '__main__':
  sys.exit(main(['eval', *sys.argv[1:]], 'eval.py'))

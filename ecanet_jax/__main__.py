"""`python -m ecanet_jax COMMAND`."""

import sys

from ecanet_jax.cli import main

if __name__ == '__main__':
  sys.exit(main())

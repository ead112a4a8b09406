"""The packages of the extra `train`, without which no data set is read and no curve is drawn."""

import importlib.util
from typing import Any

from ecanet_jax.runtime.errors import UserError

ALWAYS = ('matplotlib', 'tensorboardX', 'sklearn')
TENSORFLOW = ('tensorflow', 'tensorflow_datasets', 'importlib_resources')
INSTALL = "pip install 'ecanet_jax[train]'"


def check_matplotlib() -> None:
  """Checks that pictures can be drawn.

  Raises:
    UserError: Matplotlib is missing.
  """
  if not importlib.util.find_spec('matplotlib'):
    raise UserError(f'matplotlib is not installed: {INSTALL}.')


def check_packages(config: Any = None) -> None:
  """Checks that the packages are installed, before anything is computed.

  Args:
    config: of a training or evaluation. With data.source='memory' TensorFlow is not needed.

  Raises:
    UserError: some are missing.
  """
  in_memory = config is not None and config.data.source == 'memory'
  names = ALWAYS if in_memory else (*ALWAYS, *TENSORFLOW)
  if missing := [name for name in names if not importlib.util.find_spec(name)]:
    raise UserError(f'{missing[0]} is not installed: {INSTALL} (missing: {", ".join(missing)}).')

"""The packages of the extra `train`, without which no data set is read and no curve is drawn."""

import importlib.util
from typing import Any

from ecanet_jax.runtime.errors import UserError

ALWAYS = ('matplotlib', 'tensorboardX', 'sklearn')
TENSORFLOW = ('tensorflow', 'tensorflow_datasets', 'importlib_resources')
WITHOUT_TENSORFLOW = ('memory', 'scenes', 'coco')  # values of data.source
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
    config: of a training or evaluation. Some sources of data need no TensorFlow.

  Raises:
    UserError: some are missing.
  """
  without = config is not None and config.data.source in WITHOUT_TENSORFLOW
  names = ALWAYS if without else (*ALWAYS, *TENSORFLOW)
  if missing := [name for name in names if not importlib.util.find_spec(name)]:
    raise UserError(f'{missing[0]} is not installed: {INSTALL} (missing: {", ".join(missing)}).')

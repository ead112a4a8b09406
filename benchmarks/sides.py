"""The sides of a comparison: their names in tables, the packages and the networks they need."""

import importlib.util

from ecanet_jax.detection.from_config import is_detector
from ecanet_jax.models import network
from ecanet_jax.models.record import Network
from ecanet_jax.runtime.errors import UserError

NAMES = {'ours': 'ecanet_jax', 'timm': 'timm', 'compiled': 'timm compiled'}


def missing_packages() -> str:
  """A line with the packages that timm's side lacks and how to install them; '' = none."""
  missing = [name for name in ('torch', 'timm') if importlib.util.find_spec(name) is None]
  if not missing:
    return ''
  return (
    f'{" and ".join(missing)} not installed: no timm side. '
    'To compare: pip install "ecanet-jax[torch]"'
  )


def classification_network(name: str) -> Network:
  """The record of a network that timm could have.

  Raises:
    UserError: the name is not known, or a detector's.
  """
  if is_detector(name):
    raise UserError(
      f'{name} is a detector, and this program measures classification networks. For a trained '
      'detector: python -m benchmarks detection --workdir=DIR'
    )
  return network(name)

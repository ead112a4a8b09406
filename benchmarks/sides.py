"""The sides of a comparison: their names in tables, and the packages they need."""

import importlib.util

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

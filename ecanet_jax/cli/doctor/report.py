"""What doctor finds, and how it is printed."""

from collections.abc import Iterable

Finding = tuple[str, str, str]  # ok | warning | broken; what was found; advice or ''
OK, WARNING, BROKEN = 'ok', 'warning', 'broken'


def print_findings(found: Iterable[Finding]) -> int:
  """Prints a line for each finding; returns the worst level, 0 to 2."""
  worst = 0
  for level, what, advice in found:
    worst = max(worst, (OK, WARNING, BROKEN).index(level))
    print(f'{level:<8} {what}' + (f'\n         -> {advice}' if advice else ''), flush=True)
  return worst

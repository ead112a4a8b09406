"""Errors of the user: one line with the value, the rule and the nearest known name."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

Value = TypeVar('Value')

MANY = 24  # most known names in a message

# Exit statuses of the programs; docs/operation.md has the table.
MISTAKE, RESUME, PEER_LOST = 2, 75, 76


class UserError(ValueError):
  """A mistake in a call, command, config or file; programs print its line and exit with 2."""


class Interrupted(Exception):
  """SIGTERM or SIGINT was received and the training is saved; programs exit with status 75."""


def one_line(error: BaseException, characters: int = 160) -> str:
  """The text of an exception on one line, cut to `characters`; its type if it has no text."""
  return ' '.join(str(error).split())[:characters] or type(error).__name__


def closest(name: str, known, cutoff: float = 0.5) -> str:
  """' Did you mean NAME?' with the nearest known name, or '' if none is near."""
  matches = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
  return f' Did you mean {matches[0]!r}?' if matches else ''


def lookup(table: Mapping[str, Value], name: str, what: str) -> Value:
  """Returns `table[name]`.

  Args:
    table: the known names.
    name: what the user wrote.
    what: the noun for the message, such as 'model'.

  Raises:
    UserError: the name is not in the table; the text has the nearest and the known names.
  """
  if name in table:
    return table[name]
  raise UserError(f'unknown {what} {name!r}.{closest(str(name), table)} {known(table, name)}')


def known(table: Iterable[str], name: str) -> str:
  """'Known: a, b, c.', or the nearest names if the table is long."""
  names = sorted(table)
  if len(names) <= MANY:
    return f'Known: {", ".join(names)}.'
  near = difflib.get_close_matches(str(name), names, n=5, cutoff=0.4)
  listed = f' Nearest: {", ".join(near)}.' if near else ''
  return f'{len(names)} are known.{listed}'

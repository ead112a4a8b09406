"""The arguments of a command: flags, and `--config.KEY=VALUE`."""

import argparse
import re
import sys
from collections.abc import Sequence

from ecanet_jax.runtime.errors import UserError, closest

_OVERRIDE = re.compile(r'--?(no)?config\.')


class Parser(argparse.ArgumentParser):
  """An argument parser that answers every mistake with one line."""

  def __init__(self, program: str = 'ecanet_jax', description: str = ''):
    super().__init__(program, description=description, allow_abbrev=False)

  def error(self, message: str):
    raise UserError(f'{message}; {self.prog} --help lists them all.')

  def parse_args(self, args=None, namespace=None) -> argparse.Namespace:
    """Parses the arguments.

    Raises:
      UserError: an unknown, missing or impossible argument.
    """
    args = list(sys.argv[1:] if args is None else args)
    known = [name for name in self._option_string_actions if name.startswith('--')]
    for text in args:  # before what is missing: it may be missing because of this mistake
      name = text.partition('=')[0]
      if name.startswith('--') and name not in known:
        self._unexpected(text, closest(name, known, cutoff=0.7))
    found, others = self.parse_known_args(args, namespace)
    if others:
      self._unexpected(others[0])
    return found

  def _unexpected(self, text: str, near: str = ''):
    raise UserError(f'unexpected argument {text!r}.{near} {self.prog} --help lists them all.')


class Renamed(argparse.Action):
  """A renamed flag; `const` says what to write instead of it, with {} for the value."""

  def __call__(self, parser, namespace, values, option_string=None):
    raise UserError(f'{option_string}={values}: write {self.const.format(values)} instead.')


def parse_overrides(parser: Parser, arguments: Sequence[str]) -> argparse.Namespace:
  """Parses a command's arguments; `overrides` are those of single config keys.

  `--config.KEY VALUE`, `--config.KEY` for a key that is true or false, and `--noconfig.KEY` become
  `--config.KEY=VALUE`.

  Raises:
    UserError: an unknown argument, or a key without a value.
  """
  rest, overrides, waiting = [], [], list(arguments)
  while waiting:
    text = waiting.pop(0)
    if not _OVERRIDE.match(text):
      rest.append(text)
      continue
    name, has_value, value = text.lstrip('-').partition('=')
    key = name.partition('.')[2]
    if name.startswith('no'):
      value = _switched_off(key, text)
    elif not has_value:
      value = _value_of(key, waiting)
    overrides.append(f'--config.{key}={value}')
  args = parser.parse_args(rest)
  args.overrides = overrides
  return args


def keys_of(overrides: Sequence[str]) -> list[str]:
  """The config keys of `--config.KEY=VALUE`."""
  return [text.removeprefix('--config.').partition('=')[0] for text in overrides]


def _switched_off(key: str, text: str) -> str:
  """The value of `--noconfig.KEY`."""
  if '=' in text or not _is_switch(key, unknown=True):
    raise UserError(
      f'{text!r} is for keys that are true or false; write --config.{key}=VALUE.'
    )
  return 'False'


def _value_of(key: str, waiting: list[str]) -> str:
  """The value of `--config.KEY` without '=': true, or the next argument, which is taken away."""
  if _is_switch(key):
    return 'True'
  if not waiting or waiting[0].startswith('--'):
    raise UserError(f"'--config.{key}' has no value; write --config.{key}=VALUE.")
  return waiting.pop(0)


def _is_switch(key: str, unknown: bool = False) -> bool:
  """Whether a config key is true or false; `unknown` is the answer for a key that is not known."""
  from ecanet_jax.config.schema import KEYS

  defaults = [each.default for each in KEYS if each.name == key]
  return defaults[0] is bool or isinstance(defaults[0], bool) if defaults else unknown

"""`python -m ecanet_jax prepare`, run inside the test's process."""

import argparse

from ecanet_jax.cli import prepare


def run_prepare(*arguments: str) -> int:
  """Runs the command with these arguments and returns its exit status."""
  parser = argparse.ArgumentParser()
  prepare.add_arguments(parser)
  return prepare.run(parser.parse_args(arguments))

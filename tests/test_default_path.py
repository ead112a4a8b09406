"""What a user gets by default: one CPU device, no settings, the CPU backend."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.support import programs
from tests.support.default_path import CASES, FEW


def as_a_user(*arguments: str, seconds: int = 900) -> str:
  """The standard output of `python ARGUMENTS` without any of the tests' settings."""
  unset = ('XLA_FLAGS', 'JAX_PLATFORMS', 'TF_CPP_MIN_LOG_LEVEL')
  environment = {key: value for key, value in os.environ.items() if key not in unset}
  done = subprocess.run(
    [sys.executable, *arguments], cwd=programs.ROOT, env=environment, text=True,
    capture_output=True, stdin=subprocess.DEVNULL, timeout=seconds, check=False,
  )
  assert not done.returncode, done.stderr
  return done.stdout


@pytest.mark.timeout(900)
@pytest.mark.parametrize(('arguments', 'cases'), [
  (('few',), FEW), pytest.param((), CASES, marks=pytest.mark.slow),
])
def test_families_and_kinds_of_attention_compute_what_xla_computes_in_float64(arguments, cases):
  said = as_a_user('-m', 'tests.support.default_path', *arguments)
  first, *rest = map(json.loads, said.splitlines())
  if first['devices'] == 1 and any(map(shutil.which, ('c++', 'g++', 'clang++'))):
    assert first['backend'] == 'cpu'
  assert [line['name'] for line in rest] == [name for name, _ in cases]
  for line in rest:
    assert line['logits'] < 1e-5 and line['loss'] < 1e-4 and line['gradient'] < 1e-3, line


def test_a_network_refuses_what_is_no_image_without_a_crash():
  program = '''
import jax, numpy as np, ecanet_jax
for backend in ('cpu', 'xla'):
  model = ecanet_jax.create_model('tiny_resnet', num_classes=7, backend=backend)
  variables = model.init(jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32), train=False)
  for shape in ((3,), (32, 3), (32, 32, 3), (1, 1, 32, 32, 3), (1, 32, 32, 4)):
    try:
      model.apply(variables, np.zeros(shape, np.float32), train=False)
    except ValueError as error:
      print(backend, shape, error)
'''
  lines = as_a_user('-c', program, seconds=300).splitlines()
  assert len(lines) == 10 and all('are not [B, H, W, 3]' in line for line in lines)

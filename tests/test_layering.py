"""The rules of the repository's layout: tests/support/house_rules.py describes each."""

import pathlib
import shutil

import pytest

from tests.support import house_rules
from tests.support.programs import ROOT

# Beginnings of the known violations of each rule.
ALLOWED: dict[str, set[str]] = {}
# A rule, what is added to a copy of the repository to break it, and the violation.
BROKEN = (
  ('arrows', 'ecanet_jax/ops/pooling.py', 'from ecanet_jax.runtime import errors',
   'ecanet_jax/ops/pooling.py imports runtime'),
  ('arrows', 'ecanet_jax/nn/layers.py', 'def late():\n  from ecanet_jax.models import registry',
   'ecanet_jax/nn/layers.py imports models'),
  ('arrows', 'ecanet_jax/data/types.py', 'import ecanet_jax.checkpoints.files',
   'ecanet_jax/data/types.py imports checkpoints'),
  ('arrows', 'ecanet_jax/checkpoints/files.py', 'def late():\n  from ecanet_jax import weights',
   'ecanet_jax/checkpoints/files.py imports weights'),
  ('arrows', 'ecanet_jax/runtime/progress.py', 'from ..training import trainer',
   'ecanet_jax/runtime/progress.py imports training'),
  ('arrows', 'ecanet_jax/tasks/classification.py', 'from ecanet_jax import create_model',
   'ecanet_jax/tasks/classification.py imports ecanet_jax'),
  ('arrows', 'ecanet_jax/cli/summary.py', 'from benchmarks import table',
   'ecanet_jax/cli/summary.py imports benchmarks'),
  ('arrows', 'ecanet_jax/new.py', 'import jax',
   'ecanet_jax/new.py: new is no room of tests/support/house_rules.py'),
  ('kernels', 'ecanet_jax/models/count.py', 'def late():\n  from ecanet_jax.ops import cpu',
   'ecanet_jax/models/count.py imports ops.cpu'),
  ('words', 'ecanet_jax/training/step.py', "KIND = 'native'",
   "ecanet_jax/training/step.py has 'native'"),
  ('recipes', 'configs/smoke.py', 'from configs import digits',
   'configs/smoke.py imports configs.digits'),
  ('recipes', 'configs/smoke.py', 'from ecanet_jax import models',
   'configs/smoke.py imports ecanet_jax.models'),
  ('recipes', 'configs/smoke.py', 'from ecanet_jax.runtime.errors import lookup',
   'configs/smoke.py imports ecanet_jax.runtime.errors.lookup'),
  ('tests', 'tests/support/programs.py', 'from tests.nn.test_slot import make',
   'tests/support/programs.py imports tests.nn.test_slot'),
  ('tests', 'tests/nn/test_slot.py', 'from tests.data.conftest import write_folder',
   'tests/nn/test_slot.py imports tests.data.conftest'),
  ('lengths', 'configs/smoke.py', '\n' * 400, 'configs/smoke.py has more than 330 lines'),
  ('asserts', 'ecanet_jax/nn/layers.py', 'assert True', 'ecanet_jax/nn/layers.py has an assert'),
  ('columns', 'docs/page.md', 'word ' * 21, 'docs/page.md:1 has more than 100 columns: 105'),
)


@pytest.mark.parametrize('rule', house_rules.RULES)
def test_rule(rule):
  allowed = tuple(ALLOWED.get(rule, ()))
  found = {line for line in house_rules.RULES[rule](ROOT) if not line.startswith(allowed)}
  assert not found, '\n'.join(sorted(found))


@pytest.fixture(scope='module')
def copy(tmp_path_factory):
  """A copy of the repository's Python files and pages."""
  root = tmp_path_factory.mktemp('copy')
  for name in ('ecanet_jax', 'benchmarks', 'configs', 'tests', 'docs'):
    shutil.copytree(ROOT / name, root / name, ignore=_all_but('.py', '.md'))
  return root


def _all_but(*suffixes):
  return lambda folder, names: [
    name for name in names
    if name == '__pycache__'
    or ((pathlib.Path(folder) / name).is_file() and not name.endswith(suffixes))
  ]


@pytest.mark.parametrize(('rule', 'path', 'text', 'violation'), BROKEN)
def test_a_broken_rule_is_found(copy, rule, path, text, violation):
  file, check = copy / path, house_rules.RULES[rule]
  before = file.read_text() if file.exists() else None
  known = set(check(copy))
  file.write_text((before or '') + f'{text}\n')
  (found,) = set(check(copy)) - known
  assert found.startswith(violation)
  if before is None:
    file.unlink()
  else:
    file.write_text(before)
  assert set(check(copy)) == known


def test_a_crowded_folder_is_found(copy):
  folder = copy / 'ecanet_jax' / 'crowded'
  folder.mkdir()
  for number in range(house_rules.MODULES + 1):
    (folder / f'module_{number}.py').touch()
  assert f'{folder.relative_to(copy)} has more than 14 modules: 15' in house_rules.folders(copy)
  (folder / 'module_0.py').rename(folder / '__init__.py')
  assert not [line for line in house_rules.folders(copy) if 'crowded' in line]
  shutil.rmtree(folder)


def test_what_is_no_violation(tmp_path):
  (tmp_path / 'docs').mkdir()
  (tmp_path / 'docs' / 'page.md').write_text('\n'.join([
    '| ' + 'cell ' * 40 + '|', '```bash', 'python ' * 40, '```',
    f'[a link](https://example.org/{"long" * 40}) and few words',
  ]))
  assert not list(house_rules.columns(tmp_path))

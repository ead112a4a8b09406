"""The wheel: what is in it, and that what is in it works without the checkout."""

import os
import re
import subprocess
import sys
import zipfile

import pytest

from tests.support import programs

pytest.importorskip('setuptools', minversion='77')

PROGRAM = '''
import pathlib
import ecanet_jax
from ecanet_jax.cli.config import load_config
from ecanet_jax.configs import senet
package = pathlib.Path(ecanet_jax.__file__).parent
print(package, len(ecanet_jax.list_models()), senet.get_config().model.name)
print(load_config(str(package / 'configs' / 'eca_mobilenetv2.py')).model.name)
try:
  load_config('configs/smok.py')
except Exception as error:
  print(error)
'''


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
  """The wheel, built from this checkout, and the folder it is unpacked in."""
  root = tmp_path_factory.mktemp('wheel')
  build = (
    'import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))'
  )
  source = root / 'source'
  tracked = subprocess.run(
    ['git', 'ls-files', '--cached', '--others', '--exclude-standard'], cwd=programs.ROOT,
    capture_output=True, text=True, timeout=programs.TIMEOUT, check=True,
  ).stdout.split('\n')
  for name in filter(None, tracked):  # in a copy: a build leaves files behind
    if (programs.ROOT / name).is_file():
      (source / name).parent.mkdir(parents=True, exist_ok=True)
      (source / name).write_bytes((programs.ROOT / name).read_bytes())
  done = subprocess.run(
    [sys.executable, '-c', build, str(root)], cwd=source, capture_output=True, text=True,
    timeout=programs.TIMEOUT,
  )
  assert done.returncode == 0, done.stderr
  (path,) = root.glob('*.whl')
  with zipfile.ZipFile(path) as archive:
    archive.extractall(root / 'installed')
    return archive.namelist(), root / 'installed'


def test_the_compilers_of_the_extras_are_those_of_the_tests():
  text = (programs.ROOT / 'setup.py').read_text()
  for extra, file in (('aot', 'requirements-dev.txt'), ('aot-gpu', 'requirements-aot-gpu.txt')):
    lines = (programs.ROOT / file).read_text().splitlines()
    pins = {line.partition(';')[0] for line in lines}
    listed = re.search(rf"'{extra}': \[(.*?)\]", text, re.DOTALL)[1]
    wanted = set(re.findall(r"'([^']+)'", listed)) - {'jax==0.10.2'}
    assert wanted and wanted <= pins


@pytest.mark.slow
def test_what_is_in_it(wheel):
  names, _ = wheel
  assert {name.split('/')[0].partition('-')[0] for name in names} == {'ecanet_jax'}
  missing = {
    str(path.relative_to(programs.ROOT)) for path in (programs.ROOT / 'ecanet_jax').rglob('*')
    if path.suffix in ('.py', '.cc', '.h', '.txtpb', '.txt', '.gz') or path.name == 'py.typed'
  } - set(names)
  assert not missing
  recipes = {path.name for path in (programs.ROOT / 'configs').glob('*.py')}
  assert recipes == {
    name.rpartition('/')[2] for name in names if name.startswith('ecanet_jax/configs/')
  }


@pytest.mark.slow
def test_it_works_without_the_checkout(wheel, tmp_path):
  _, installed = wheel
  environment = {**os.environ, 'PYTHONPATH': str(installed)}

  def run(*arguments):
    return subprocess.run(
      [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True,
      timeout=programs.TIMEOUT,
    )

  done = run('-c', PROGRAM)
  assert done.returncode == 0, done.stderr
  lines = done.stdout.splitlines()
  assert lines[0].startswith(str(installed)) and lines[0].endswith(' se_resnet50_v1')
  assert lines[1] == 'eca_mobilenetv2_k13'
  assert "Did you mean 'smoke'?" in lines[2]
  done = run('-m', 'ecanet_jax', 'models', 'eca_efficientnet*')
  assert done.returncode == 0 and done.stdout.startswith('eca_efficientnet_b0'), done.stderr
  assert run('-m', 'benchmarks').returncode == 1

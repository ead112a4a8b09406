"""The wheel: what is in it, and that what is in it works without the checkout."""

import os
import re
import subprocess
import sys
import zipfile

import pytest
import yaml
from packaging.requirements import Requirement
from PIL import Image

from ecanet_jax.cli import doctor
from tests.support import programs

pytest.importorskip('setuptools', minversion='77')

WORKFLOWS = programs.ROOT / '.github' / 'workflows'

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


FOUR_STEPS = ('--config.epochs=0', '--config.steps=4', '--config.schedule.warmup_epochs=0')


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


@pytest.mark.parametrize(('system', 'machine', 'name'), [
  ('linux', 'x86_64', 'tensorflow-cpu'), ('win32', 'AMD64', 'tensorflow-cpu'),
  ('linux', 'aarch64', 'tensorflow'), ('darwin', 'arm64', 'tensorflow'),
])
def test_tensorflow_of_a_system(system, machine, name):
  environment = {'sys_platform': system, 'platform_machine': machine}
  wanted = map(Requirement, doctor.requirements())
  chosen = [each.name for each in wanted if not each.marker or each.marker.evaluate(environment)]
  assert [each for each in chosen if each in ('tensorflow', 'tensorflow-cpu')] == [name]


@pytest.mark.parametrize('path', sorted(WORKFLOWS.glob('*.yml')), ids=lambda path: path.name)
def test_workflows(path):
  jobs = yaml.safe_load(path.read_text())['jobs']
  assert all(job['steps'] and job['timeout-minutes'] for job in jobs.values())
  if path.name == 'publish.yml':
    assert jobs['publish']['permissions'] == {'id-token': 'write'}
    assert jobs['publish']['needs'] == 'build'
    assert 'python -m twine check --strict dist/*' in [step.get('run') for step in
                                                        jobs['build']['steps']]


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
  # In a directory with a package `configs` of its own.
  (tmp_path / 'configs').mkdir()
  (tmp_path / 'configs' / '__init__.py').write_text("MINE = 'of the user'")
  (tmp_path / 'configs' / 'digits.py').write_text("raise RuntimeError('imported')")
  done = run('-c', 'import configs, ecanet_jax.configs.smoke; print(configs.MINE)')
  assert done.stdout == 'of the user\n', done.stderr
  Image.new('L', (32, 32)).save(tmp_path / 'picture.png')
  for arguments, said in (
    (['prepare', '--dataset=digits', '--data_dir=data'], 'digits test: 360 images'),
    (['train', '--config=digits', '--workdir=r', *FOUR_STEPS], 'on 360 of 360 images of test'),
    (['eval', '--workdir=r'], 'on 360 of 360 images of test'),
    (['predict', 'r', 'picture.png'], 'picture.png'),
  ):
    done = run('-m', 'ecanet_jax', *arguments)
    assert done.returncode == 0 and said in done.stdout, done.stderr


@pytest.mark.slow
def test_what_it_says_of_itself(wheel):
  _, installed = wheel
  (path,) = installed.glob('*.dist-info/METADATA')
  head, _, page = path.read_text().partition('\n\n')
  assert page.startswith('# ecanet_jax')
  assert not [each for each in re.findall(r'\]\(([^)]*)\)', page) if '://' not in each]
  assert 'Author: The ecanet_jax authors' in head and 'Classifier: Typing :: Typed' in head
  needed = [line.split(': ')[1] for line in head.splitlines() if line.startswith('Requires-Dist')]
  always = {re.match(r'[\w-]+', line)[0] for line in needed if 'extra ==' not in line}
  train = {re.match(r'[\w-]+', line)[0] for line in needed if 'extra == "train"' in line}
  assert {'jax', 'flax', 'safetensors', 'pillow'} <= always and not always & train
  assert train == {
    'tensorflow', 'tensorflow-cpu', 'tensorflow-datasets', 'importlib_resources', 'scikit-learn',
    'matplotlib', 'tensorboardX',
  }

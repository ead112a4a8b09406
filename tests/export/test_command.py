"""`ecanet_jax export`: the files of a folder, all or none, and every mistake in one line."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest

import ecanet_jax
from ecanet_jax import cli
from ecanet_jax.export import packages
from ecanet_jax.export.export import export
from ecanet_jax.export.formats import FORMATS
from ecanet_jax.export.onnx.file import Onnx
from ecanet_jax.export.options import ExportOptions
from ecanet_jax.export.stablehlo import StableHLO
from ecanet_jax.export.target import replaced_folder
from ecanet_jax.inference import images as pictures
from ecanet_jax.runtime.errors import UserError
from tests.support.imagenet_tars import smooth_image
from tests.support.weights_folder import write

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
NAMES = tuple('abcdefghij')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp('weights') / 'folder'
  write(path, label_names=NAMES)
  return path


@pytest.fixture(scope='module')
def photos(tmp_path_factory, folder):
  """Six photographs, each in the folder of the class that the network finds."""
  root, classifier = tmp_path_factory.mktemp('photos'), ecanet_jax.load(folder)
  for number in range(6):
    image = smooth_image(np.random.RandomState(number), 70, 80 + number)
    ((best,),) = classifier.predict(image, top=1)
    (root / best.name).mkdir(exist_ok=True)
    image.save(root / best.name / f'{number}.png')
  return root


@pytest.fixture(scope='module')
def exported(tmp_path_factory, folder, photos):
  out = tmp_path_factory.mktemp('exported') / 'out'
  assert cli.main(command(folder, out, photos)) == 0
  return out


def command(folder, out, photos, *more):
  return ['export', str(folder), str(out), '--format=stablehlo,onnx', '--preprocess=inside',
          '--labels', f'--check={photos}', *more]


def sums(folder):
  return {path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
          for path in sorted(folder.rglob('*')) if path.is_file()}


def test_a_format_that_loses_too_much_is_refused_with_the_figure(folder, tmp_path, monkeypatch):
  monkeypatch.setitem(FORMATS, 'stablehlo', dataclasses.replace(StableHLO(), cosine=1.5))
  classifier, out = ecanet_jax.load(folder), tmp_path / 'out'
  message = 'stablehlo: this network loses by it: the cosine to its logits is 1.000, below 1.5,'
  with pytest.raises(UserError, match=message):
    export(classifier, out, ['stablehlo'])
  assert not list(tmp_path.iterdir())
  seen = []
  export(classifier, out, ['stablehlo'], ExportOptions(batch=3, force=True), report=seen.append)
  assert (out / 'export.json').exists() and seen[0].noise.top1 == 7


def test_what_is_in_the_folder(exported, folder, photos):
  content = json.loads((exported / 'export.json').read_text())
  assert content['network'] == 'tiny_efficientnet' and content['image_shape'] == [64, 64, 3]
  assert content['preprocess'] == 'inside' and content['classes'] == list(NAMES)
  assert (exported / 'labels.txt').read_text().split() == list(NAMES)
  for name in ('stablehlo', 'onnx'):
    entry = content['formats'][name]
    path = exported / entry['path']
    assert entry['files'][path.name]['sha256'] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert entry['photographs']['images'] == entry['photographs']['top1_equal'] == 6
    assert max(entry[key]['largest_difference'] for key in ('noise', 'photographs')) <= 1e-5
  files = sorted(photos.rglob('*.png'))
  classifier = ecanet_jax.load(folder)
  pixels = np.stack([
    np.asarray(pictures.resize_and_crop(pictures.read_image(file), classifier.preprocessing))
    for file in files
  ]).astype(np.float32)
  for each, name in ((Onnx(), 'model.onnx'), (StableHLO(), 'model.stablehlo')):
    logits = each.load(exported / name)(pixels)
    np.testing.assert_allclose(logits, classifier.logits(files), rtol=1e-4, atol=1e-4)


def test_again_the_same_bytes(exported, folder, photos, capsys):
  before = sums(exported)
  assert cli.main(command(folder, exported, photos)) == 0
  assert sums(exported) == before
  lines = capsys.readouterr().out.splitlines()
  assert [line.split(':')[0] for line in lines[:2]] == ['stablehlo', 'onnx']
  assert '(17 of 17 convolutions), largest difference' in lines[1]
  assert lines[1].endswith('top-1 equal on 6 of 6 photographs')


def test_an_interrupted_export_leaves_the_old_one(exported):
  before = sums(exported)
  with pytest.raises(KeyboardInterrupt), replaced_folder(exported) as new:
    (new / 'export.json').write_text('{}')
    raise KeyboardInterrupt
  assert sums(exported) == before
  assert [path.name for path in exported.parent.iterdir()] == [exported.name]
  exported.rename(exported.with_name('.out.old'))  # killed between the two renames
  with pytest.raises(KeyboardInterrupt), replaced_folder(exported):
    raise KeyboardInterrupt
  assert sums(exported) == before


def test_check_again(exported, tmp_path, capsys):
  assert cli.main(['export', f'--check={exported}']) == 0
  out = capsys.readouterr().out
  assert out.count('checksums equal, largest difference') == 2
  copy = tmp_path / 'copy'
  copy.mkdir()
  for path in exported.iterdir():
    (copy / path.name).write_bytes(path.read_bytes())
  data = bytearray((copy / 'model.onnx').read_bytes())
  data[len(data) // 2] ^= 1
  (copy / 'model.onnx').write_bytes(data)
  assert cli.main(['export', f'--check={copy}']) == 2
  assert 'model.onnx is damaged: its SHA-256 is not that of export.json' in capsys.readouterr().err
  (copy / 'model.onnx').unlink()
  assert cli.main(['export', f'--check={copy}']) == 2
  assert 'model.onnx is missing; export again.' in capsys.readouterr().err


def test_static_attention_is_judged_by_the_accuracy(folder, photos, tmp_path, capsys):
  more = ['--static_attention=all', f'--calibrate={photos}', '--format=onnx']
  status = cli.main(command(folder, tmp_path / 'all', photos, *more, '--force'))
  out = capsys.readouterr().out
  assert status == 0 and 'instead of 100.00% on 6 photographs' in out
  content = json.loads((tmp_path / 'all' / 'export.json').read_text())
  assert content['static_attention'] == ['blocks_0_0', 'blocks_1_0', 'blocks_1_1', 'blocks_2_0']
  assert content['formats']['onnx']['convolutions'] == 13
  (tmp_path / 'other' / 'z').mkdir(parents=True)
  smooth_image(np.random.RandomState(0), 70, 80).save(tmp_path / 'other' / 'z' / '0.png')
  assert cli.main(command(folder, tmp_path / 'x', tmp_path / 'other', *more)) == 2
  assert "is in 'z', which is no class." in capsys.readouterr().err


@pytest.mark.parametrize(('flags', 'message'), [
  (['--format=onxx'], "unknown format 'onxx'. Did you mean 'onnx'? Known: "),
  (['--format=,'], '--formats: name one or more of stablehlo'),
  (['--platforms=gpu'], "unknown platform 'gpu'. Did you mean 'tpu'? Known: cpu, cuda, tpu."),
  (['--preprocess=outside'], "unknown --preprocess 'outside'."),
  (['--batch=0'], '--batch=0 must be dynamic, or a number of images from 1.'),
  (['--image_size=-1'], '--image_size=-1 must be at least 1, such as 224'),
  (['--tolerance=-1'], '--tolerance=-1.0 must be above 0.'),
  (['--tolerance=1e-12'], 'stablehlo: the logits differ by '),
  (['--static_attention=all'], '--static_attention=all needs --calibrate=DIR, whose photographs'),
  (['--check=nowhere'], 'nowhere: no such file or folder.'),
])
def test_mistakes(flags, message, folder, tmp_path, capsys):
  assert cli.main(['export', str(folder), str(tmp_path / 'out'), *flags]) == 2
  err = capsys.readouterr().err
  assert message in err and len(err.splitlines()) == 1
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(('arguments', 'message'), [
  ([], 'nothing to do; write ecanet_jax export RUN OUT, or ecanet_jax export --check OUT.'),
  (['run'], 'OUT is missing; write ecanet_jax export run OUT.'),
  (['run', 'gs://bucket/out'], 'files are written to this machine; give a local directory.'),
  (['nowhere', 'out'], 'nowhere: no such file or directory.'),
  (['--check', '.'], 'has no export.json; give the OUT of `ecanet_jax export RUN OUT`.'),
])
def test_mistakes_in_what_is_named(arguments, message, capsys, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert cli.main(['export', *arguments]) == 2
  assert message in capsys.readouterr().err


def test_a_folder_that_holds_something_else(folder, tmp_path, capsys):
  (tmp_path / 'precious.txt').write_text('x')
  assert cli.main(['export', str(folder), str(tmp_path)]) == 2
  assert 'holds something else than an export; give a new or an empty' in capsys.readouterr().err
  assert [path.name for path in tmp_path.iterdir()] == ['precious.txt']


def test_weights_without_names_have_no_labels(tmp_path, capsys):
  write(tmp_path / 'weights')
  assert cli.main(['export', str(tmp_path / 'weights'), str(tmp_path / 'out'), '--labels']) == 2
  assert '--labels: the weights have no names of classes' in capsys.readouterr().err


def test_a_missing_runtime_names_its_extra(monkeypatch):
  def missing(name):
    raise ImportError(name)

  monkeypatch.setattr(packages.importlib, 'import_module', missing)
  with pytest.raises(UserError, match=r"pip install 'ecanet_jax\[onnx\]'"):
    packages.require('onnx', 'onnx', 'onnx')

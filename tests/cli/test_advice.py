"""Advice names only flags that the command has, and the right words for names of timm."""

import ast
import re

import pytest

import ecanet_jax
from ecanet_jax.cli.config import load_config
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import read_weights
from tests.support.programs import ROOT

FLAG = re.compile(r'(?<![\w-])--[a-z_]\w+(?![\w.])')
# Modules below cli whose messages name a flag, with what says whose flag it is.
NAMED = {
  'config/other_names.py': {'--config', '--workdir'},  # says that they are train's
  'config/stored.py': {'--config'},  # only eval reads the config of a training
  'runtime/distributed.py': {'--coordinator', '--process_id', '--num_processes'},  # train, eval
  'inference/training_folder.py': {'--accept_changes'},  # predict
  'evaluation/tta.py': {'--tta'}, 'evaluation/evaluate_weights.py': {'--tta'},  # eval
  'training/trainer.py': {'--workdir'}, 'training/resume.py': {'--workdir'},  # train
  'checkpoints/compare.py': {'--workdir'},  # train resumes
  'data/sources/tfds.py': {
    '--dataset', '--data_dir', '--manual_dir', '--file_format',  # a whole command
  },
  'data/detection/tfds_coco.py': {'--dataset', '--data_dir', '--file_format'},  # a whole command
  'export/accuracy.py': {'--check'}, 'export/export.py': {'--tolerance', '--labels'},  # export
  'export/detection/export.py': {'--check', '--force', '--format', '--image_size'},  # export
  'export/detection/program.py': {'--preprocess'},
  'export/forward.py': {'--preprocess'}, 'export/static_gates.py': {'--static_attention'},
  'export/tflite/converter.py': {'--format'}, 'export/tflite/file.py': {'--calibrate'},
  'analysis/cam/explain.py': {'--class'},  # analyse cam
  'analysis/run.py': {'--data'},  # analyse
  'export/onnx/graph.py': {'--format'}, 'export/onnx/operators.py': {'--format'},
  'data/tfdata/pipeline.py': {'--verify_only', '--data_dir'},  # of `prepare`, which it names
  'weights/hub/timm_network.py': {'--model'},  # a whole command
  'tasks/distillation.py': {'--model'},  # a whole command
  'weights/hub/folder_config.py': {'--preprocessing'},  # a whole command
  'weights/export.py': {'--dialect'},  # convert; a training exports in timm's dialect
  'weights/eca_kernel_size.py': {'--widen'},  # says that it is convert's
  'weights/loaded_weights.py': {'--model'},  # says that it is convert's
  'aot/table.py': {'--table', '--config', '--json', '--step', '--topology'},  # commands it starts
  'models/table.py': {'--table', '--markdown'},  # a whole command
  'training/logging/profile.py': {'--logdir'},  # of tensorboard
  'runtime/determinism.py': {'--xla_gpu_exclude_nondeterministic_ops'},  # of XLA
}


def flags_in(path):
  """The flags, other than --config.KEY, in the texts of a module, without its docstrings."""
  tree, found = ast.parse(path.read_text()), set()
  documented = {
    id(node.body[0].value) for node in ast.walk(tree)
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body
    and isinstance(node.body[0], ast.Expr)
  }
  for node in ast.walk(tree):
    if isinstance(node, ast.Constant) and id(node) not in documented:
      found |= set(FLAG.findall(str(node.value)))
  return found


def test_flags_in_messages():
  package = ROOT / 'ecanet_jax'
  found = {
    str(path.relative_to(package)): flags_in(path) for path in sorted(package.rglob('*.py'))
    if path.relative_to(package).parts[0] != 'cli'
  }
  new = {name: flags - NAMED.get(name, set()) for name, flags in found.items()}
  assert not {name: flags for name, flags in new.items() if flags}


@pytest.mark.parametrize(('name', 'text'), [
  ('EfficientNetB0', "unknown model 'EfficientNetB0'. Did you mean 'efficientnet_b0'?"),
  ('mobilenet_v2', "unknown model 'mobilenet_v2'. Did you mean 'mobilenetv2_100'?"),
  ('microsoft/resnet-50', "unknown model 'microsoft/resnet-50'. Did you mean 'resnet50'?"),
  ('ecanet50', "unknown model 'ecanet50'. Did you mean 'eca_resnet50'?"),
  ('resnet50.a1_in1k', "'resnet50.a1_in1k' names weights of timm; the network is 'resnet50'. The "
   "weights are 'hf-hub:timm/resnet50.a1_in1k'."),
  ('timm/tf_efficientnet_b0.ns_jft_in1k', "the network is 'tf_efficientnet_b0'. The weights are "
   "'hf-hub:timm/tf_efficientnet_b0.ns_jft_in1k'."),
  ('local-dir:runs/x', "'local-dir:runs/x' names weights, not a network: give it where weights are"
   ' asked for, without local-dir:.'),
])
def test_names_of_timm(name, text):
  with pytest.raises(UserError) as caught:
    ecanet_jax.create_model(name)
  assert str(caught.value).endswith(text)


@pytest.mark.parametrize(('field', 'text'), [
  ('drop_rate', "resnet50 has no field 'drop_rate'. Here it is 'dropout'. Known: "),
  ('fc', "resnet50 has no field 'fc'. The size of the last layer is 'num_classes'. Known: "),
])
def test_fields_of_timm(field, text):
  with pytest.raises(UserError) as caught:
    ecanet_jax.create_model('resnet50', **{field: 1})
  assert str(caught.value).startswith(text)


def test_keys_of_timm():
  with pytest.raises(UserError, match=r"'model\.drop_rate'\. Did you mean 'model\.dropout'\?"):
    load_config('smoke', ['--config.model.drop_rate=0.1'])
  with pytest.raises(UserError, match=r"'model\.fc'\. Did you mean 'model\.num_classes'\?"):
    load_config('smoke', ['--config.model.fc=10'])


@pytest.mark.parametrize(('path', 'text'), [
  ('local-dir:runs/x', 'local-dir: is a word of timm: give runs/x alone.'),
  ('resnet50.a1_in1k', "On the hub they are 'hf-hub:timm/resnet50.a1_in1k'."),
])
def test_weights_of_timm(path, text):
  for read in (read_weights, ecanet_jax.load_pretrained):
    with pytest.raises(UserError) as caught:
      read(path)
    assert str(caught.value).endswith(text)

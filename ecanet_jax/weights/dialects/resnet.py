"""ResNet's names in timm, torchvision, and the code of the ECA authors, moskomule and Cadene."""

from collections.abc import Mapping

from ecanet_jax.weights.dialects.dialect import KINDS, Dialect, Family

# A model has a stem of one convolution or of three; the names of the other stem stay unused.
_STEM = {
  'stem': 'conv1',
  'stem_bn': 'bn1',
  'stem_1': 'conv1.0',
  'stem_1_bn': 'conv1.1',
  'stem_2': 'conv1.3',
  'stem_2_bn': 'conv1.4',
  'stem_3': 'conv1.6',
  'stem_3_bn': 'bn1',
}
_CADENE_STEM = {
  'stem': 'layer0.conv1',
  'stem_bn': 'layer0.bn1',
  'stem_1': 'layer0.conv1',
  'stem_1_bn': 'layer0.bn1',
  'stem_2': 'layer0.conv2',
  'stem_2_bn': 'layer0.bn2',
  'stem_3': 'layer0.conv3',
  'stem_3_bn': 'layer0.bn3',
}


def _dialect(
  attention: Mapping[str, str], stem: Mapping[str, str] = _STEM, classifier: str = 'fc',
  kinds: Mapping[str, str] = KINDS,
) -> Dialect:
  """Returns a dialect whose blocks have numbered convolutions, followed by attention.

  Args:
    attention: the modules of attention.
    stem: the modules before the blocks.
    classifier: the name of the classifier.
    kinds: as in `Dialect`.
  """
  variants = {}
  for kind, convolutions in (('basic', 2), ('bottleneck', 3)):
    for shortcut, first in (('plain', 0), ('pooled', 1)):  # downsample.0 is the pooling
      block = {}
      for i in range(1, convolutions + 1):
        block |= {f'conv_{i}': f'conv{i}', f'conv_{i}_bn': f'bn{i}'}
      variants[f'{kind} {shortcut}'] = {
        **block,
        **attention,
        'shortcut': f'downsample.{first}',
        'shortcut_bn': f'downsample.{first + 1}',
      }
  return Dialect(stem, 'layer{stage1}.{index}.', variants, {'classifier': classifier}, kinds)


RESNET = Family(
  variant=lambda block: f'{block.kind} {"pooled" if block.pools else "plain"}',
  dialects={
    # huggingface/pytorch-image-models, timm/models/resnet.py.
    'timm': _dialect({
      'attention': 'se.conv',
      'attention/reduce': 'se.fc1',
      'attention/expand': 'se.fc2',
    }),
    # pytorch/vision, torchvision/models/resnet.py; it has no attention.
    'torchvision': _dialect({}),
    # BangguWu/ECANet, models/eca_resnet.py.
    'ecanet': _dialect({'attention': 'eca.conv'}),
    # Cadene/pretrained-models.pytorch, senet.py, and so timm's legacy_ networks.
    'cadene': _dialect(
      {'attention/reduce': 'se_module.fc1', 'attention/expand': 'se_module.fc2'},
      _CADENE_STEM, 'last_linear',
    ),
    # moskomule/senet.pytorch, senet/se_module.py: SE's two layers are linear, without bias.
    'moskomule': _dialect(
      {'attention/reduce': 'se.fc.0', 'attention/expand': 'se.fc.2'},
      kinds={**KINDS, 'attention/reduce': 'dense', 'attention/expand': 'dense'},
    ),
  },
)

"""The ECA authors' released networks: equal logits with twins built on torchvision's, both ways.

Their code is no package. The twins are torchvision's networks with the attention of the paper's
Eq. 5 and 9 where the released state dicts have it; keys and shapes of those are compared in
tests/models/test_resnet_twins.py.
"""

import pytest

from ecanet_jax import create_model

torch = pytest.importorskip('torch', reason='the twins are in PyTorch')

import torchvision  # noqa: E402  after the check for PyTorch

from tests.support import twins  # noqa: E402


class ECA(torch.nn.Module):
  def __init__(self, k):
    super().__init__()
    self.conv = torch.nn.Conv1d(1, 1, k, padding=k // 2, bias=False)

  def forward(self, x):
    weights = torch.sigmoid(self.conv(x.mean((2, 3))[:, None])[:, 0])
    return x * weights[:, :, None, None]


class Basic(torchvision.models.resnet.BasicBlock):
  def forward(self, x):
    y = self.relu(self.bn1(self.conv1(x)))
    y = self.eca(self.bn2(self.conv2(y)))
    return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(torchvision.models.resnet.Bottleneck):
  def forward(self, x):
    y = self.relu(self.bn1(self.conv1(x)))
    y = self.relu(self.bn2(self.conv2(y)))
    y = self.eca(self.bn3(self.conv3(y)))
    return self.relu(y + (x if self.downsample is None else self.downsample(x)))


def resnet(depths, bottleneck, sizes, classes):
  twin = torchvision.models.ResNet(Bottleneck if bottleneck else Basic, depths, classes)
  for stage, k in zip((twin.layer1, twin.layer2, twin.layer3, twin.layer4), sizes):
    for block in stage:
      shortcut = block.downsample
      del block.downsample  # their modules are in this order
      block.eca, block.downsample = ECA(k), shortcut
  return twin


def mobilenet_v2(classes):
  twin = torchvision.models.mobilenet_v2(num_classes=classes)
  for block in twin.features[1:-1]:
    block.conv.append(ECA(1 if block.out_channels < 96 else 3))
  return twin


@pytest.mark.parametrize('name', ['eca_resnet18_k3577', *(
  pytest.param(f'eca_{name}', marks=pytest.mark.slow)
  for name in ('resnet34_k3357', 'resnet50_k3557', 'resnet101_k3357', 'resnet152_k3357',
               'mobilenetv2_k13')
)])
def test_logits_equal(name):
  model = create_model(name, num_classes=20)
  if 'mobilenet' in name:
    twin = mobilenet_v2(20)
  else:
    sizes = [int(k) for k in name.rpartition('k')[2]]
    twin = resnet(model.depths, model.bottleneck, sizes, 20)
  twins.check_twin(model, twin, 'ecanet', 64)

"""torchvision's Mask R-CNN with the network, the rules and the weights of one of our trainings."""

from typing import Any

import numpy as np
import torch

from benchmarks.detection.scenes import NUMBER, as_lists, training, unseen
from ecanet_jax.config.stored import read_config
from ecanet_jax.inference.detector import TrainedDetector, load_detector
from ecanet_jax.runtime.memory import keep_freed_memory
from ecanet_jax.tasks.detection.detections import Detections
from ecanet_jax.weights import to_torch
from ecanet_jax.weights.torchvision_shim import import_torchvision

import_torchvision()

from torchvision import extension  # noqa: E402
from torchvision.models.detection import MaskRCNN  # noqa: E402
from torchvision.models.detection.anchor_utils import AnchorGenerator  # noqa: E402
from torchvision.models.detection.backbone_utils import BackboneWithFPN  # noqa: E402
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead  # noqa: E402
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor  # noqa: E402
from torchvision.models.detection.rpn import RPNHead  # noqa: E402
from torchvision.models.resnet import BasicBlock, ResNet  # noqa: E402

BINS = 7
THRESHOLD = 0.5  # of a mask
STAGES = 4


class EcaLayer(torch.nn.Module):
  """Efficient channel attention (Wang et al., 2020, section 3.2)."""

  def __init__(self, kernel_size: int):
    super().__init__()
    self.conv = torch.nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)

  def forward(self, x):
    squeezed = x.mean((2, 3))[:, None]
    return x * torch.sigmoid(self.conv(squeezed))[:, 0, :, None, None]


class EcaBlock(BasicBlock):
  """torchvision's block of ResNet-18 with a place for ECA before the addition."""

  def __init__(self, *arguments, **keywords):
    super().__init__(*arguments, **keywords)
    self.eca = torch.nn.Identity()

  def forward(self, x):
    y = self.eca(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))
    return self.relu(y + (x if self.downsample is None else self.downsample(x)))


def make_twin(detector: TrainedDetector) -> MaskRCNN:
  """torchvision's Mask R-CNN on ResNet-18 with our weights.

  Raises:
    ValueError: our network is another one.
  """
  model, preset = detector.model, detector.model.preset
  state = to_torch(model, detector.variables, 'torchvision')
  channels, planes = model.channels, model.backbone.planes
  body = ResNet(EcaBlock, list(model.backbone.depths))
  del body.fc
  for stage in range(STAGES):
    previous = planes * 2 ** (stage - 1) if stage else body.conv1.out_channels
    body.inplanes = previous
    blocks = body._make_layer(
      EcaBlock, planes * 2**stage, model.backbone.depths[stage], stride=2 if stage else 1)
    for number, block in enumerate(blocks):
      kernel = state.get(f'backbone.body.layer{stage + 1}.{number}.eca.conv.weight')
      if kernel is not None:
        block.eca = EcaLayer(kernel.shape[-1])
    setattr(body, f'layer{stage + 1}', blocks)
  backbone = BackboneWithFPN(
    body, {f'layer{stage + 1}': str(stage) for stage in range(STAGES)},
    [planes * 2**stage for stage in range(STAGES)], channels)
  sizes = tuple((int(stride * preset.anchor_scales[0]),) for stride in preset.strides)
  outputs = model.num_classes + 1
  twin = MaskRCNN(
    backbone, min_size=detector.settings.shorter, max_size=detector.settings.longer,
    image_mean=list(detector.mean), image_std=list(detector.std),
    rpn_anchor_generator=AnchorGenerator(sizes, (preset.anchor_ratios,) * len(sizes)),
    rpn_head=RPNHead(channels, model.cell_anchors),
    rpn_pre_nms_top_n_train=preset.proposals_before_nms[0],
    rpn_pre_nms_top_n_test=preset.proposals_before_nms[1],
    rpn_post_nms_top_n_train=preset.proposals[0], rpn_post_nms_top_n_test=preset.proposals[1],
    rpn_batch_size_per_image=preset.rpn_samples, box_batch_size_per_image=preset.roi_samples,
    box_head=TwoMLPHead(channels * BINS**2, model.hidden),
    box_predictor=FastRCNNPredictor(model.hidden, outputs),
    mask_head=MaskRCNNHeads(channels, (channels,) * model.mask_convs, 1),
    mask_predictor=MaskRCNNPredictor(channels, channels, outputs),
  )
  theirs = {key: torch.from_numpy(np.array(value)) for key, value in state.items()}
  missing, unknown = twin.load_state_dict(theirs, strict=False)
  missing = [key for key in missing if not key.endswith('num_batches_tracked')]
  if missing or unknown:
    raise ValueError(f'torchvision has no such network: {(missing or unknown)[0]}')
  return twin


class Inference:
  """The same as `ours.Inference`, with torchvision's compiled operators.

  Attributes:
    device: its name.
  """

  device = 'CPU'

  def __init__(self, setting: dict[str, Any]):
    _prepare(setting)
    self._model, self._images = make_twin(load_detector(setting['workdir'])).eval(), unseen()

  def run(self, calls: int) -> None:
    """Looks at the next `calls` images."""
    for call in range(calls):
      self._find(self._images[call % NUMBER])

  def found(self) -> dict[str, Any]:
    """What is on the images."""
    return {'found': [as_lists(self._find(image)) for image in self._images]}

  def _find(self, image: np.ndarray) -> Detections:
    with torch.inference_mode():
      (found,) = self._model([_as_tensor(image)])
    masks = found['masks'][:, 0] > THRESHOLD
    arrays = (found['boxes'], found['scores'], found['labels'] - 1, masks)
    return Detections(0, *(each.numpy() for each in arrays))


class Training:
  """The training step: the five losses, backward, AdamW.

  Attributes:
    device: its name.
  """

  device = 'CPU'

  def __init__(self, setting: dict[str, Any]):
    _prepare(setting)
    config = read_config(setting['workdir'])
    self._model = make_twin(load_detector(setting['workdir'])).train()
    scenes = training(config.batch_size)
    self._images = [_as_tensor(scene.image) for scene in scenes]
    self._targets = [
      {'boxes': torch.from_numpy(scene.boxes), 'masks': torch.from_numpy(scene.masks.astype('u1')),
       'labels': torch.from_numpy(scene.labels.astype('i8') + 1)} for scene in scenes]
    self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=1e-4, fused=True)

  def run(self, calls: int) -> None:
    """Takes `calls` steps."""
    for _ in range(calls):
      sum(self._model(self._images, self._targets).values()).backward()
      self._optimizer.step()
      self._optimizer.zero_grad(set_to_none=True)


def _prepare(setting: dict[str, Any]) -> None:
  """Raises RuntimeError where torchvision has no compiled operators."""
  if not extension._has_ops():
    raise RuntimeError(
      "torchvision's compiled operators do not load beside this PyTorch; install both from one "
      'index, such as https://download.pytorch.org/whl/cpu')
  keep_freed_memory()
  if setting['threads']:
    torch.set_num_threads(setting['threads'])


def _as_tensor(image: np.ndarray) -> torch.Tensor:
  """An image of 0..255, `[H, W, 3]`, as 0..1, `[3, H, W]`."""
  return torch.from_numpy(image).permute(2, 0, 1).float() / 255

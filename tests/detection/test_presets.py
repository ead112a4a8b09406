"""The two sets of rules: every value, against the two code bases."""

import dataclasses

import pytest

from ecanet_jax.detection.presets import MMDET1, TORCHVISION, get_preset
from ecanet_jax.runtime.errors import UserError


def test_what_differs():
  """detection_utils, rpn.py, roi_heads.py of torchvision; core/ and ops/ of mmdetection 1.0rc0."""
  names = [field.name for field in dataclasses.fields(TORCHVISION)]
  differ = {name: (getattr(TORCHVISION, name), getattr(MMDET1, name)) for name in names
            if getattr(TORCHVISION, name) != getattr(MMDET1, name)}
  rpn, roi = differ.pop('rpn_match'), differ.pop('roi_match')
  assert differ == {
    'name': ('torchvision', 'mmdet1'),
    'pixel': (0.0, 1.0),
    'stride_from_shape': (True, False),
    'border_anchors': (True, False),
    'symmetric_clamp': (False, True),
    'match_ground_truth': (True, False),
    'best_pairs': (True, False),
    'proposal_size': (1e-3, 0.0),
    'detection_size': (1e-2, 0.0),
    'least_roi': (1.0, 0.0),
    'roi_level_eps_in_log': (True, False),
    'box_beta': (1 / 9, 1.0),
    'rpn_counts_at_least_one': (False, True),
    'mean_over_images': (True, False),
    'binary_masks': (False, True),
    'mask_border': (1, 0),
    'frozen_affine': (True, False),
  }
  assert [dataclasses.astuple(rule) for rule in rpn] == [
    (0.7, 0.3, True, 0.0, False), (0.7, 0.3, True, 0.3, True)]
  assert [dataclasses.astuple(rule) for rule in roi] == [
    (0.5, 0.5, False, 0.0, False), (0.5, 0.5, True, 0.5, True)]


def test_what_both_have():
  for preset in (TORCHVISION, MMDET1):
    assert preset.strides == (4, 8, 16, 32, 64)
    assert (preset.anchor_scales, preset.anchor_ratios) == ((8.0,), (0.5, 1.0, 2.0))
    assert preset.box_weights == (10.0, 10.0, 5.0, 5.0)
    assert (preset.rpn_samples, preset.rpn_positive) == (256, 0.5)
    assert (preset.roi_samples, preset.roi_positive) == (512, 0.25)
    assert preset.proposals_before_nms == preset.proposals == (2000, 1000)
    assert (preset.proposal_iou, preset.score, preset.detection_iou) == (0.7, 0.05, 0.5)
    assert (preset.detections, preset.rpn_beta) == (100, 1 / 9)


def test_unknown_preset():
  assert get_preset('mmdet1') is MMDET1
  with pytest.raises(UserError, match=r"preset 'mmdet'\. Did you mean 'mmdet1'\?"):
    get_preset('mmdet')

"""What tests of the augmentations share: names in timm and torchvision, images compared."""

import numpy as np
from PIL import Image

TIMM = {
  'shear_x': 'ShearX', 'shear_y': 'ShearY', 'translate_x': 'TranslateXRel',
  'translate_y': 'TranslateYRel', 'rotate': 'Rotate', 'brightness': 'Brightness', 'color': 'Color',
  'contrast': 'Contrast', 'sharpness': 'Sharpness', 'posterize': 'Posterize',
  'solarize': 'Solarize', 'solarize_add': 'SolarizeAdd', 'autocontrast': 'AutoContrast',
  'equalize': 'Equalize', 'invert': 'Invert',
}
INCREASING = ('brightness', 'color', 'contrast', 'sharpness', 'posterize', 'solarize')
TORCHVISION = {name: theirs.removesuffix('Rel') for name, theirs in TIMM.items()} | {
  'identity': 'Identity'
}
del TORCHVISION['solarize_add']


def timm_name(name: str, convention: str) -> str:
  """timm's name of an operation in one of its two conventions."""
  increasing = convention == 'timm_increasing' and name in INCREASING
  return TIMM[name] + ('Increasing' if increasing else '')


def pillow(image, grey: bool):
  """uint8 [H, W, 3] as a Pillow image, of one channel if grey."""
  return Image.fromarray(image[..., 0] if grey else image)


def same(ours, theirs, allowed: int, what, unsure=False):
  """Asserts that two images differ by `allowed` at most, but where a mask says `unsure`."""
  theirs = np.asarray(theirs).astype(int)
  theirs = theirs if theirs.ndim == 3 else theirs[..., None]
  difference = np.abs(np.asarray(ours).astype(int) - theirs)
  difference[np.broadcast_to(unsure, difference.shape[:2])] = 0
  assert difference.max() <= allowed, (what, difference.max(), (difference > allowed).mean())

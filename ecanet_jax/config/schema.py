"""Every key of a config with its default, its meaning and its rule.

A config stores causes (learning rate per 256 images, epochs). The trainer derives the effects (peak
learning rate, number of steps) and logs them.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import config_dict

from ecanet_jax.config.detection_keys import DATA_KEYS, NETWORK_KEYS
from ecanet_jax.config.key import Key
from ecanet_jax.config.rules import Rule, above, at_least, interval, numbers
from ecanet_jax.config.trees import value_of
from ecanet_jax.runtime.errors import UserError

KEYS = (
  Key('seed', 0,
      'parameters, order of the images, augmentation, dropout', at_least(0).at_most(2**31 - 1)),
  Key('epochs', 350.0,
      'passes over the training split; 0 = config.steps counts instead', at_least(0)),
  Key('steps', int, 'updates, instead of epochs', at_least(1)),
  Key('batch_size', 1024, 'images per step over all devices of all hosts', at_least(1)),
  Key('accumulate', 1,
      "parts of a step's batch, computed in turn to save memory; divides bn_groups", at_least(1)),

  # The network: a registered name, and overrides of any of its fields.
  Key('model.name', 'eca_efficientnet_b0', 'one of `python -m ecanet_jax models`'),
  Key('model.num_classes', 1000, 'outputs of the classifier; classes of objects', at_least(1)),
  Key('model.preset', str, 'padding and BatchNorm constants: torch | tf'),
  Key('model.activation', str, 'swish | relu | relu6 | hard_swish'),
  Key('model.global_pool', str, 'before the classifier: avg | max | avgmax'),
  Key('model.classifier_values', str,
      "initial values of the classifier: family | timm (EfficientNet: larger below 1000 classes)"),
  Key('model.dropout', float, 'before the classifier'),
  Key('model.drop_path', float, 'stochastic depth: rate at the end of the network'),
  Key('model.bn_groups', 1, 'BatchNorm statistics: 1 = whole global batch, N = per N-th of it'),
  Key('model.bn_decay', float, "running statistics; PyTorch's momentum = 1 - decay"),
  Key('model.bn_eps', float, 'added to the variance'),
  Key('model.frozen_stages', 0,
      'stages that training leaves unchanged, with the stem; -1 = all but the classifier'),
  Key('model.frozen_bn', False, 'BatchNorm keeps and uses its running statistics in training'),
  Key('model.attention.kind', str, 'none | se | eca | ... (ecanet_jax/nn/attention)'),
  Key('model.attention.where', str, 'all | skip | noskip | stages | last | alternate'),
  Key('model.attention.stages', tuple, 'stage numbers from 1; () = all'),
  Key('model.attention.position', str, 'standard | depthwise | end | pre | ...'),
  Key('model.attention.elsewhere', str, "position in all other blocks; '' = none"),
  Key('model.attention.k', tuple, 'ECA: (3,) = fixed, or one per stage; () = policy'),
  Key('model.attention.k_policy', str, 'eq9_output | eq9_planes | linear | released'),
  Key('model.attention.gamma', float, 'of the k policies that compute k from the channels'),
  Key('model.attention.b', float, 'of the same policies'),
  Key('model.attention.reduction', float, 'SE: channels / squeezed channels'),
  Key('model.attention.reduction_of', str, "SE: of the 'channels' or the 'block'"),
  Key('model.attention.divisor', int, 'SE: squeezed channels are multiples of it'),
  Key('model.attention.bias', bool, 'SE: of its two layers'),
  Key('model.attention.activation', str, "SE: between them; '' = the network's"),
  Key('model.attention.squeeze', str, 'mean | max | both | none'),
  Key('model.attention.gate', str, 'sigmoid | hard_sigmoid | tanh | relu'),
  Key('model.attention.groups', int, "SE-GC: groups of its layer; 0 = the kind's"),

  # Fields of single families; other networks refuse them.
  Key('model.width', float, 'EfficientNet, MobileNetV2: multiplies channels'),
  Key('model.depth', float, 'EfficientNet, MobileNetV2: multiplies repeats'),
  Key('model.scale_ends', bool, 'width and depth apply to stem, head, first and last stage, too'),
  Key('model.stem_width', int, 'EfficientNet, ResNet: channels of the stem'),
  Key('model.stem_stride', int, 'EfficientNet, MobileNetV2: 2, or 1 for small images'),
  Key('model.head_width', int, 'EfficientNet: channels of the last 1x1 convolution'),
  Key('model.depths', tuple, 'ResNet: blocks of each stage'),
  Key('model.bottleneck', bool, 'ResNet: bottlenecks, or blocks of two 3x3'),
  Key('model.planes', int, 'ResNet: width of the first stage'),
  Key('model.groups', int, 'ResNeXt: groups of the 3x3'),
  Key('model.base_width', int, 'ResNeXt: channels per group at 64 planes'),
  Key('model.stem', str, 'ResNet: 7x7 | 3x3 (small images) | deep | deep_tiered'),
  Key('model.stem_pool', str, 'ResNet: padding of the max-pool: symmetric | ceil'),
  Key('model.avg_down', bool, "ResNet-D: mean pool before the shortcut's 1x1"),
  Key('model.down_kernel', int, "ResNet: of the shortcut's convolution"),
  Key('model.reduce_first', int, "SENet-154: divides the first 1x1's channels"),
  Key('model.stride_1x1', bool, 'ResNet: stride in the first 1x1 (original), or 3x3'),
  Key('model.last_stride', int, 'ResNet: of the last stage'),
  Key('model.zero_init_last', bool, "ResNet: a branch's last scale starts at 0"),
  Key('model.batch_norm', bool, 'VGG: after each convolution'),
  Key('model.mlp', int, 'VGG: width of the hidden layers; 0 = none'),
  Key('model.repeats', tuple, 'Inception-ResNet-v2: residual blocks of each stage'),

  *NETWORK_KEYS,

  # Weights to start from; read at the first start, not when a training resumes.
  Key('init.weights', '', "workdir, weights folder, hf-hub:OWNER/NAME or file; '' = random"),
  Key('init.dialect', 'timm', 'the code whose names a file has'),
  Key('init.kind', 'ema', "of a training's weights: ema | raw"),
  Key('init.checkpoint', 'last', 'of a training: last | best | a step'),
  Key('init.new_head', False, 'a fresh classifier, even if the number of classes is the same'),

  # The images and their preprocessing.
  Key('data.source', 'tfds',
      'tfds | folder | csv | memory; of detectors: scenes | coco | coco_tfds'),
  Key('data.name', 'imagenet2012', 'TFDS name; memory: digits | fashion_mnist | synthetic'),
  Key('data.data_dir', '', "TFDS directory, image folder or fashion_mnist's; '' = the default"),
  Key('data.csv', '', 'csv: file of images and labels with a column split (docs/data.md)'),
  Key('data.label_separator', '', "csv: between an image's labels, such as '|'; '' = one label"),
  Key('data.class_file', '', "csv: a class name per line, in order; '' = the sorted labels"),
  Key('data.train_split', 'train',
      'TFDS split, folder of the training images, or value of the column split'),
  Key('data.eval_split', 'validation', 'likewise for the evaluation images'),
  Key('data.eval_share', 0.0,
      'folder without splits: share of each class held out for evaluation; 0 = an error',
      at_least(0).below(1)),
  Key('data.allow_empty_classes', False, 'folder: a class may be without images'),
  Key('data.resident', False, 'small sets: images stay on the device, cropped in the step'),
  Key('data.image_size', 224, 'pixels, height = width, training and evaluation', at_least(1)),
  Key('data.size_schedule', (), 'training: ((0, 128), (5, 224)) = pixels from an epoch on'),
  Key('data.crop', 'inception',
      'training: inception (random area and aspect) | center | shift (by up to an eighth of '
      'the side; only for source memory and data.resident)'),
  Key('data.area', (0.08, 1.0),
      "inception crop: fraction of the image's area", interval(above(0).at_most(1))),
  Key('data.aspect', (3 / 4, 4 / 3), 'inception crop: width / height', interval(above(0))),
  Key('data.flip', True, 'training: mirror left-right, one image in two'),
  Key('data.crop_fraction', 0.875,
      'evaluation: image_size / shorter side of the image that the centre is cut out of',
      above(0).at_most(1)),
  Key('data.crop_mode', 'center',
      'evaluation: center (the image keeps its proportions) | squash (resized to a square)'),
  Key('data.interpolation', 'bicubic', 'bicubic | bilinear'),
  Key('data.exif', 'ignore', 'EXIF orientation: ignore (as timm and torchvision) | apply'),
  Key('data.mean', (0.485, 0.456, 0.406), 'RGB, image in 0..1', numbers(3)),
  Key('data.std', (0.229, 0.224, 0.225), 'the same', numbers(3, at_least(1e-6))),
  Key('data.shuffle_buffer', 16384, 'encoded images per host; TFRecord sources only', at_least(1)),
  Key('data.max_bad', 1e-4,
      'training: fraction of images that may be corrupt; each is logged and replaced',
      at_least(0).at_most(1)),
  Key('data.accept_changes', False,
      'other class names than those of the checkpoint or weights are a warning, not an error'),
  Key('data.decode_threads', 0, 'parallel decodes per host; 0 = tf.data chooses', at_least(0)),

  *DATA_KEYS,

  # Random changes of a training image after crop and flip. Images that are not decoded in every
  # epoch (source memory, data.resident) can have erasing only.
  Key('augment.policy', 'none',
      "none | autoaugment | autoaugment_cifar | randaugment_tf | randaugment (timm's) | "
      'trivialaugment; see ecanet_jax/data/augmentation/host/policies.py'),
  Key('augment.layers', 2, 'RandAugments: number of operations in a row'),
  Key('augment.magnitude', 9.0, "RandAugments: timm's to 10, TensorFlow's to 30"),
  Key('augment.magnitude_std', 0.0,
      'randaugment: of the magnitude; inf = uniform from 0', at_least(0).or_infinite()),
  Key('augment.probability', 0.5, 'randaugment: that an operation is applied'),
  Key('augment.increasing', True, "randaugment: more magnitude is always stronger (timm's inc1)"),
  Key('augment.interpolation', str, 'of the policy: nearest | bilinear | bicubic'),
  Key('augment.fill', tuple, 'of the policy: RGB of pixels outside the image, 0 to 255'),
  Key('augment.color_jitter', (0.0, 0.0, 0.0, 0.0), 'brightness, contrast, saturation, hue: +-'),
  Key('augment.lighting', 0.0, "standard deviation of AlexNet's colour noise; it had 0.1"),
  Key('augment.rotation', 0.0, 'degrees to either side; SENet had 10'),
  Key('augment.erasing', 0.0, 'probability that a rectangle is erased'),
  Key('augment.erasing_mode', 'const', 'const (data.mean) | rand (a colour) | pixel (noise)'),
  Key('augment.erasing_area', (0.02, 1 / 3), "of the image's area"),
  Key('augment.erasing_aspect', (0.3, 1 / 0.3), 'height / width'),

  # Two images in one: a batch, or part of it, is mixed with itself in reverse order.
  Key('mix.mixup_alpha', 0.0, "of the Beta distribution of the first image's share; 0 = off"),
  Key('mix.cutmix_alpha', 0.0, 'the same of the area, with a rectangle of the second; 0 = off'),
  Key('mix.prob', 1.0, 'probability that a batch is mixed'),
  Key('mix.switch_prob', 0.5, 'if both are on: probability of cutmix'),

  # The step.
  Key('loss.name', 'softmax', 'softmax | bce (binary cross-entropy, mean over the classes)'),
  Key('loss.label_smoothing', 0.1,
      'share of the uniform distribution in a target', at_least(0).below(1)),
  Key('loss.target_threshold', 0.0,
      'bce: targets above it become 1, others 0; 0 = off', at_least(0).below(1)),
  Key('loss.class_weights', (), 'one factor per class; () = 1'),
  Key('loss.balanced', False, 'factors from the training split: images / (classes * of the class)'),

  # A trained network, the teacher, whose outputs are targets, too.
  Key('distill.weights', '', "workdir, weights folder, hf-hub:OWNER/NAME or file; '' = no teacher"),
  Key('distill.model', '', 'name of the teacher, for a file'),
  Key('distill.dialect', 'timm', 'the code whose names a file has'),
  Key('distill.kind', 'soft', "soft (KL divergence of the outputs) | hard (the teacher's class)"),
  Key('distill.temperature', 4.0, 'soft: divides the outputs of both', above(0)),
  Key('distill.share', 0.5, "of the teacher's loss in the loss", at_least(0).at_most(1)),

  Key('optimizer.name', 'rmsprop_tf', 'rmsprop_tf | sgd | adamw | lamb | lars'),
  Key('optimizer.momentum', 0.9, 'rmsprop_tf, sgd, lars', at_least(0).below(1)),
  Key('optimizer.nesterov', False, 'sgd, lars'),
  Key('optimizer.decay', 0.9,
      'rmsprop_tf: of the mean square, which starts at 1', at_least(0).below(1)),
  Key('optimizer.b1', 0.9, 'adamw, lamb: of the mean gradient', at_least(0).below(1)),
  Key('optimizer.b2', 0.999, 'adamw, lamb: of the mean square', at_least(0).below(1)),
  Key('optimizer.eps', float, 'rmsprop_tf 1e-3 in the root, adamw 1e-8, lamb 1e-6'),
  Key('optimizer.trust', 0.001, "lars: rate of a layer = trust * its norm / its gradient's"),
  Key('optimizer.weight_decay', 1e-5, 'rmsprop_tf, sgd: L2, added to the gradient', at_least(0)),
  Key('optimizer.decoupled', False,
      'rmsprop_tf, sgd: subtracted from the parameter instead, times the rate'),
  Key('optimizer.decay_biases', True, "biases decay too (TF EfficientNet, PyTorch's SGD)"),
  Key('optimizer.decay_batch_norm', False, "BatchNorm's scale and bias decay too (PyTorch's SGD)"),
  Key('optimizer.clip_norm', 0.0, 'limit of the norm of the whole gradient; 0 = off', at_least(0)),
  Key('optimizer.agc', 0.0,
      'adaptive clipping: limit relative to the weights (NFNet: 0.01); 0 = off', at_least(0)),
  Key('optimizer.sam_rho', 0.0,
      'sharpness-aware minimisation: distance to the weights of the gradient; 0 = off',
      at_least(0)),
  Key('optimizer.layer_decay', 1.0,
      'transfer: learning rate of a stage / that of the next stage', above(0).at_most(1)),

  Key('schedule.name', 'exponential', 'exponential | cosine | step | constant'),
  Key('schedule.lr', 0.016, 'per 256 images; the peak is lr * batch_size / 256', above(0)),
  Key('schedule.warmup_epochs', 5.0, 'linear from warmup_from', at_least(0)),
  Key('schedule.warmup_from', 0.0,
      'learning rate of the first step, whatever the batch size', at_least(0)),
  Key('schedule.decay_rate', 0.97, 'exponential, step: factor of each decay', above(0).at_most(1)),
  Key('schedule.decay_epochs', 2.4,
      'exponential: epochs from one decay to the next, from step 0', above(0)),
  Key('schedule.staircase', True, 'exponential: in steps, or smoothly'),
  Key('schedule.milestones', (30.0, 60.0, 90.0), 'step: epochs at which it decays'),
  Key('schedule.final_fraction', 0.0, 'cosine: last learning rate / peak', at_least(0).at_most(1)),
  Key('schedule.from_warmup', True, 'cosine: starts after the warm-up, or at step 0'),
  Key('schedule.per_epoch', False, "changes only between epochs, as in timm's programs"),

  Key('ema.decay', 0.9999,
      'of parameters and BatchNorm statistics; 0 = off', at_least(0).at_most(1)),
  Key('ema.warmup', True, 'decay = min(decay, (1 + step) / (10 + step))'),

  Key('compute_dtype', 'float32', 'float32 | bfloat16; parameters and statistics stay float32'),

  # How it is computed; results differ only by rounding.
  Key('ops.backend', 'auto',
      'auto | xla | tpu | cpu (kernels of our own for one CPU device) | portable (for `export`)'),
  Key('ops.fold_batch_norm', True, "evaluation: BatchNorm inside the convolutions' weights"),
  Key('ops.remat', 'none', 'to save memory: none | elementwise (keeps convolutions) | blocks'),

  # When to log, evaluate and save.
  Key('log_steps', 100, 'steps between lines of the log', at_least(1)),
  Key('eval_epochs', 1.0, 'epochs between evaluations; 0 = only at the end', at_least(0)),
  Key('early_stop', 0,
      'evaluations without a better headline metric that end it; 0 = never', at_least(0)),
  Key('save_epochs', 1.0,
      'epochs between checkpoints; the last step is always saved', at_least(0)),
  Key('bad_steps', 10,
      'non-finite steps in a row that are left out; one more ends the training', at_least(0)),
  Key('keep_checkpoints', 2, 'the newest ones; the best is kept, too', at_least(1)),
  Key('watchdog_seconds', 1800.0,
      'without a step, batch or phase: exit with status 76; 0 = never', at_least(0)),
  Key('tensorboard', True, 'write WORKDIR/tensorboard'),
  Key('trackers', (), 'other places for the same figures: wandb, mlflow'),
  Key('profile.first', 1, 'first step of a profile in WORKDIR/tensorboard', at_least(1)),
  Key('profile.last', 0, 'its last step; 0 = no profile', at_least(0)),
  Key('export', False, 'at the end, write WORKDIR/export for PyTorch (timm)'),
)

# Keys of older versions -> the key that replaces them.
MOVED_KEYS = {
  'ops.convolution': 'ops.backend', 'ops.depthwise': 'ops.backend', 'ops.batch_norm': 'ops.backend',
}


def get_config() -> config_dict.ConfigDict:
  """The locked config from which every recipe starts (ImageNet, B0 with ECA).

  An unknown key is an error.
  """
  config = config_dict.ConfigDict()
  for key in KEYS:
    *sections, name = key.name.split('.')
    place = config
    for section in sections:
      if section not in place:
        place[section] = config_dict.ConfigDict()
      place = place[section]
    is_type = isinstance(key.default, type)
    place[name] = config_dict.placeholder(key.default) if is_type else key.default
  return config.lock()


def check(config: Mapping[str, Any]) -> None:
  """Checks every value against the rule of its key.

  Raises:
    UserError: for the first value that breaks its rule, or a number that is not finite.
  """
  for key in KEYS:
    value = value_of(config, key.name)
    if value is None:
      continue
    if fault := (key.rule or Rule()).fault(value):
      raise UserError(f'{key.name}={value} {fault}.')


def moved(name: str) -> str:
  """What to write instead of a key of an older version; '' for any other name."""
  if name not in MOVED_KEYS:
    return ''
  new = MOVED_KEYS[name]
  meaning = next(key.meaning for key in KEYS if key.name == new)
  return f'config key {name!r} is {new!r} now ({meaning}): write --config.{new}=VALUE.'

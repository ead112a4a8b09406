"""Every key of every recipe, once, with its meaning. Recipes import this and assign.

A config stores causes (learning rate per 256 images, epochs); the trainer derives the effects
(peak learning rate, number of steps) and logs them. The returned dict is locked: an unknown key is
an error. A key that is `placeholder(type)` is not set and keeps the registered network's value.
"""

from ml_collections import config_dict
from ml_collections.config_dict import placeholder


def get_config() -> config_dict.ConfigDict:
  """Returns the locked config that every recipe starts from (ImageNet, B0 with ECA)."""
  config = config_dict.ConfigDict()

  config.seed = 0  # parameters, order of the images, augmentation, dropout
  config.epochs = 350.0  # passes over the training split
  config.batch_size = 1024  # images per step over all devices of all hosts

  # The network: a registered name, and overrides of any of its fields.
  config.model = config_dict.ConfigDict()
  config.model.name = 'eca_efficientnet_b0'
  config.model.num_classes = 1000
  config.model.dropout = placeholder(float)  # before the classifier
  config.model.drop_path = placeholder(float)  # stochastic depth: rate at the end of the network
  config.model.bn_groups = 1  # BatchNorm statistics: 1 = whole global batch, N = per N-th of it
  config.model.bn_decay = placeholder(float)  # running statistics; PyTorch's momentum = 1 - decay
  config.model.attention = config_dict.ConfigDict()
  config.model.attention.kind = placeholder(str)  # none | se | eca
  config.model.attention.where = placeholder(str)  # all | skip | noskip | stages
  config.model.attention.stages = placeholder(tuple)  # stage numbers, with where='stages'
  config.model.attention.position = placeholder(str)  # depthwise | end
  config.model.attention.k = placeholder(tuple)  # ECA: () = Eq. 9, (3,) = fixed, one per stage
  config.model.attention.reduction = placeholder(float)  # SE: block input channels / this

  # What an image becomes.
  config.data = config_dict.ConfigDict()
  config.data.source = 'tfds'  # tfds | folder | memory
  config.data.name = 'imagenet2012'  # TFDS name; memory: digits | synthetic; unused by folder
  config.data.data_dir = ''  # TFDS directory or image folder; '' = TFDS's own default
  config.data.train_split = 'train'
  config.data.eval_split = 'validation'
  config.data.image_size = 224  # pixels, height = width, training and evaluation
  config.data.crop = 'inception'  # training: inception (random area and aspect) | center
  config.data.area = (0.08, 1.0)  # inception crop: fraction of the image's area
  config.data.aspect = (3 / 4, 4 / 3)  # inception crop: width / height
  config.data.flip = True  # training: mirror left-right, one image in two
  config.data.crop_fraction = 0.875  # evaluation: centre crop's side / image's shorter side
  config.data.interpolation = 'bicubic'  # bicubic | bilinear
  config.data.mean = (0.485, 0.456, 0.406)  # RGB, image in 0..1
  config.data.std = (0.229, 0.224, 0.225)
  config.data.shuffle_buffer = 16384  # encoded images per host; TFRecord sources only
  config.data.decode_threads = 0  # parallel decodes per host; 0 = tf.data chooses

  # What happens each step.
  config.loss = config_dict.ConfigDict()
  config.loss.label_smoothing = 0.1

  config.optimizer = config_dict.ConfigDict()
  config.optimizer.name = 'rmsprop_tf'  # rmsprop_tf | sgd
  config.optimizer.momentum = 0.9
  config.optimizer.nesterov = False  # sgd
  config.optimizer.decay = 0.9  # rmsprop_tf: of the mean square, which starts at 1
  config.optimizer.eps = 1e-3  # rmsprop_tf: inside the square root
  config.optimizer.weight_decay = 1e-5  # L2: added to the gradient
  config.optimizer.decay_biases = True  # L2 on biases too (TF EfficientNet); never on BatchNorm
  config.optimizer.clip_norm = 0.0  # of the whole gradient; 0 = off

  config.schedule = config_dict.ConfigDict()
  config.schedule.name = 'exponential'  # exponential | cosine | step | constant
  config.schedule.lr = 0.016  # per 256 images; the peak is lr * batch_size / 256
  config.schedule.warmup_epochs = 5.0  # linear from 0
  config.schedule.decay_rate = 0.97  # exponential, step: factor of each decay
  config.schedule.decay_epochs = 2.4  # exponential: epochs from one decay to the next, from step 0
  config.schedule.staircase = True  # exponential: in steps, or smoothly
  config.schedule.milestones = (30.0, 60.0, 90.0)  # step: epochs at which it decays
  config.schedule.final_fraction = 0.0  # cosine: last learning rate / peak

  config.ema = config_dict.ConfigDict()
  config.ema.decay = 0.9999  # of parameters and BatchNorm statistics; 0 = off
  config.ema.warmup = True  # decay = min(decay, (1 + step) / (10 + step))

  config.compute_dtype = 'float32'  # float32 | bfloat16; parameters and statistics stay float32

  # Which form of a hot function to use; auto = the measured choice of the backend.
  config.ops = config_dict.ConfigDict()
  config.ops.depthwise = 'auto'  # auto | shift | lax

  # When to look, and when to save.
  config.log_steps = 100
  config.eval_epochs = 1.0  # from one evaluation to the next; 0 = only at the end
  config.save_epochs = 1.0  # from one checkpoint to the next; the last step is always saved
  config.keep_checkpoints = 2  # newest ones; the best is kept besides
  config.tensorboard = True
  config.export = False  # at the end, write WORKDIR/export for PyTorch (timm)

  return config.lock()

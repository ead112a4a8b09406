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
  config.epochs = 350.0  # passes over the training split; 0 = config.steps says how long
  config.steps = placeholder(int)  # updates, in place of epochs
  config.batch_size = 1024  # images per step over all devices of all hosts
  config.accumulate = 1  # a step's batch in so many parts in turn: less memory; divides bn_groups

  # The network: a registered name, and overrides of any of its fields.
  config.model = config_dict.ConfigDict()
  config.model.name = 'eca_efficientnet_b0'
  config.model.num_classes = 1000
  config.model.preset = placeholder(str)  # padding and BatchNorm constants: torch | tf
  config.model.activation = placeholder(str)  # swish | relu | relu6 | hard_swish
  config.model.dropout = placeholder(float)  # before the classifier
  config.model.drop_path = placeholder(float)  # stochastic depth: rate at the end of the network
  config.model.bn_groups = 1  # BatchNorm statistics: 1 = whole global batch, N = per N-th of it
  config.model.bn_decay = placeholder(float)  # running statistics; PyTorch's momentum = 1 - decay
  config.model.bn_eps = placeholder(float)  # added to the variance
  config.model.frozen_stages = 0  # stem and so many stages stay as they are; 0 = none
  config.model.frozen_bn = False  # BatchNorm keeps and uses its running statistics in training
  config.model.attention = config_dict.ConfigDict()
  config.model.attention.kind = placeholder(str)  # none | se | eca | ... (ecanet_jax/attention)
  config.model.attention.where = placeholder(str)  # all | skip | noskip | stages | last | alternate
  config.model.attention.stages = placeholder(tuple)  # stage numbers from 1; () = all
  config.model.attention.position = placeholder(str)  # standard | depthwise | end | pre | ...
  config.model.attention.elsewhere = placeholder(str)  # position in all other blocks; '' = none
  config.model.attention.k = placeholder(tuple)  # ECA: (3,) = fixed, or one per stage; () = policy
  config.model.attention.k_policy = placeholder(str)  # eq9_output | eq9_planes | linear | released
  config.model.attention.gamma = placeholder(float)  # of the k policies that compute
  config.model.attention.b = placeholder(float)  # the same
  config.model.attention.reduction = placeholder(float)  # SE: channels / squeezed channels
  config.model.attention.reduction_of = placeholder(str)  # SE: of the 'channels' or the 'block'
  config.model.attention.divisor = placeholder(int)  # SE: squeezed channels are multiples of it
  config.model.attention.bias = placeholder(bool)  # SE: of its two layers
  config.model.attention.activation = placeholder(str)  # SE: between them; '' = the network's
  config.model.attention.squeeze = placeholder(str)  # mean | max | both | none
  config.model.attention.gate = placeholder(str)  # sigmoid | hard_sigmoid | tanh | relu
  config.model.attention.groups = placeholder(int)  # SE-GC: groups of its layer; 0 = the kind's

  # Fields of some families alone; any other name's network says that it has none such.
  config.model.width = placeholder(float)  # EfficientNet, MobileNetV2: multiplies channels
  config.model.depth = placeholder(float)  # EfficientNet, MobileNetV2: multiplies repeats
  config.model.scale_ends = placeholder(bool)  # they apply to stem, head, first and last stage too
  config.model.stem_width = placeholder(int)  # EfficientNet, ResNet: channels of the stem
  config.model.head_width = placeholder(int)  # EfficientNet: channels of the last 1x1 convolution
  config.model.depths = placeholder(tuple)  # ResNet: blocks of each stage
  config.model.bottleneck = placeholder(bool)  # ResNet: bottlenecks, or blocks of two 3x3
  config.model.planes = placeholder(int)  # ResNet: width of the first stage
  config.model.groups = placeholder(int)  # ResNeXt: groups of the 3x3
  config.model.base_width = placeholder(int)  # ResNeXt: channels per group at 64 planes
  config.model.stem = placeholder(str)  # ResNet: 7x7 | deep | deep_tiered
  config.model.stem_pool = placeholder(str)  # ResNet: padding of the max-pool: symmetric | ceil
  config.model.avg_down = placeholder(bool)  # ResNet-D: mean pool before the shortcut's 1x1
  config.model.down_kernel = placeholder(int)  # ResNet: of the shortcut's convolution
  config.model.reduce_first = placeholder(int)  # SENet-154: divides the first 1x1's channels
  config.model.stride_1x1 = placeholder(bool)  # ResNet: stride in the first 1x1 (original), or 3x3
  config.model.last_stride = placeholder(int)  # ResNet: of the last stage
  config.model.zero_init_last = placeholder(bool)  # ResNet: a branch's last scale starts at 0
  config.model.batch_norm = placeholder(bool)  # VGG
  config.model.mlp = placeholder(int)  # VGG: width of the hidden layers; 0 = none
  config.model.repeats = placeholder(tuple)  # Inception-ResNet-v2: residual blocks of each stage

  # Weights to start from; read at the first start only, never when a run goes on.
  config.init = config_dict.ConfigDict()
  config.init.weights = ''  # workdir, weights folder, hf-hub:OWNER/NAME or file; '' = random
  config.init.dialect = 'timm'  # whose names a file has
  config.init.kind = 'ema'  # of a training's weights: ema | raw
  config.init.checkpoint = 'last'  # of a training: last | best | a step
  config.init.new_head = False  # a fresh classifier, also where the number of classes is the same

  # What an image becomes.
  config.data = config_dict.ConfigDict()
  config.data.source = 'tfds'  # tfds | folder | memory
  config.data.name = 'imagenet2012'  # TFDS name; memory: digits | fashion_mnist | synthetic
  config.data.data_dir = ''  # TFDS directory, image folder or fashion_mnist's; '' = the default
  config.data.train_split = 'train'
  config.data.eval_split = 'validation'
  config.data.resident = False  # small sets: images stay on the device, cropped in the step
  config.data.image_size = 224  # pixels, height = width, training and evaluation
  config.data.size_schedule = ()  # training alone: ((0, 128), (5, 224)) = pixels from an epoch on
  config.data.crop = 'inception'  # training: inception (random area and aspect) | center | shift
  # (by up to an eighth of the side; source memory and data.resident alone)
  config.data.area = (0.08, 1.0)  # inception crop: fraction of the image's area
  config.data.aspect = (3 / 4, 4 / 3)  # inception crop: width / height
  config.data.flip = True  # training: mirror left-right, one image in two
  config.data.crop_fraction = 0.875  # evaluation: centre crop's side / image's shorter side
  config.data.interpolation = 'bicubic'  # bicubic | bilinear
  config.data.mean = (0.485, 0.456, 0.406)  # RGB, image in 0..1
  config.data.std = (0.229, 0.224, 0.225)
  config.data.shuffle_buffer = 16384  # encoded images per host; TFRecord sources only
  config.data.max_bad = 1e-4  # training: fraction of images that may be broken: replaced, named
  config.data.decode_threads = 0  # parallel decodes per host; 0 = tf.data chooses

  # What happens to a training image at random after crop and flip. Images that are not decoded
  # (source memory, data.resident) can have erasing only.
  config.augment = config_dict.ConfigDict()
  config.augment.policy = 'none'  # none | autoaugment | autoaugment_cifar | randaugment_tf |
  # randaugment (timm's) | trivialaugment; see ecanet_jax/data/augmentation/policies.py
  config.augment.layers = 2  # RandAugments: operations one after the other
  config.augment.magnitude = 9.0  # RandAugments: timm's to 10, TensorFlow's to 30
  config.augment.magnitude_std = 0.0  # randaugment: of the magnitude; inf = uniform from 0
  config.augment.probability = 0.5  # randaugment: that an operation is applied
  config.augment.increasing = True  # randaugment: more magnitude is always stronger (timm's inc1)
  config.augment.interpolation = placeholder(str)  # of the policy: nearest | bilinear | bicubic
  config.augment.fill = placeholder(tuple)  # of the policy: RGB of what lies outside, 0 to 255
  config.augment.color_jitter = (0.0, 0.0, 0.0, 0.0)  # brightness, contrast, saturation, hue: +-
  config.augment.lighting = 0.0  # standard deviation of AlexNet's colour noise; it had 0.1
  config.augment.rotation = 0.0  # degrees to either side; SENet had 10
  config.augment.erasing = 0.0  # probability that a rectangle is erased
  config.augment.erasing_mode = 'const'  # const (data.mean) | rand (a colour) | pixel (noise)
  config.augment.erasing_area = (0.02, 1 / 3)  # of the image's area
  config.augment.erasing_aspect = (0.3, 1 / 0.3)  # height / width

  # Two images in one: each batch (with accumulate each part) is mixed with itself in reverse order.
  config.mix = config_dict.ConfigDict()
  config.mix.mixup_alpha = 0.0  # of the Beta distribution of the first image's share; 0 = off
  config.mix.cutmix_alpha = 0.0  # the same of the area, with a rectangle of the second; 0 = off
  config.mix.prob = 1.0  # that a batch is mixed
  config.mix.switch_prob = 0.5  # with both: that it is cutmix

  # What happens each step.
  config.loss = config_dict.ConfigDict()
  config.loss.name = 'softmax'  # softmax | bce (every class a yes or no; mean over the classes)
  config.loss.label_smoothing = 0.1
  config.loss.target_threshold = 0.0  # bce: a target is 1 above it and else 0; 0 = as it is
  config.loss.class_weights = ()  # one factor per class; () = 1
  config.loss.balanced = False  # factors from the training split: images / (classes * of the class)

  config.optimizer = config_dict.ConfigDict()
  config.optimizer.name = 'rmsprop_tf'  # rmsprop_tf | sgd | adamw | lamb | lars
  config.optimizer.momentum = 0.9  # rmsprop_tf, sgd, lars
  config.optimizer.nesterov = False  # sgd, lars
  config.optimizer.decay = 0.9  # rmsprop_tf: of the mean square, which starts at 1
  config.optimizer.b1 = 0.9  # adamw, lamb: of the mean gradient
  config.optimizer.b2 = 0.999  # adamw, lamb: of the mean square
  config.optimizer.eps = placeholder(float)  # rmsprop_tf 1e-3 in the root, adamw 1e-8, lamb 1e-6
  config.optimizer.trust = 0.001  # lars: rate of a layer = trust * its norm / its gradient's
  config.optimizer.weight_decay = 1e-5  # rmsprop_tf, sgd: L2, added to the gradient
  config.optimizer.decoupled = False  # of those: off the parameter instead, times learning rate
  config.optimizer.decay_biases = True  # biases decay too (TF EfficientNet, PyTorch's SGD)
  config.optimizer.decay_batch_norm = False  # BatchNorm's scale and bias decay too (PyTorch's SGD)
  config.optimizer.clip_norm = 0.0  # of the whole gradient; 0 = off
  config.optimizer.agc = 0.0  # or of each unit, relative to its weights (NFNet: 0.01); 0 = off
  config.optimizer.layer_decay = 1.0  # transfer: rate of a stage / rate of the one behind it

  config.schedule = config_dict.ConfigDict()
  config.schedule.name = 'exponential'  # exponential | cosine | step | constant
  config.schedule.lr = 0.016  # per 256 images; the peak is lr * batch_size / 256
  config.schedule.warmup_epochs = 5.0  # linear from warmup_from
  config.schedule.warmup_from = 0.0  # learning rate of the first step, whatever the batch size
  config.schedule.decay_rate = 0.97  # exponential, step: factor of each decay
  config.schedule.decay_epochs = 2.4  # exponential: epochs from one decay to the next, from step 0
  config.schedule.staircase = True  # exponential: in steps, or smoothly
  config.schedule.milestones = (30.0, 60.0, 90.0)  # step: epochs at which it decays
  config.schedule.final_fraction = 0.0  # cosine: last learning rate / peak
  config.schedule.from_warmup = True  # cosine: begins with the end of the warm-up, or with step 0
  config.schedule.per_epoch = False  # changes between two epochs alone, as in timm's programs

  config.ema = config_dict.ConfigDict()
  config.ema.decay = 0.9999  # of parameters and BatchNorm statistics; 0 = off
  config.ema.warmup = True  # decay = min(decay, (1 + step) / (10 + step))

  config.compute_dtype = 'float32'  # float32 | bfloat16; parameters and statistics stay float32

  # How it is computed: results differ by rounding alone. auto = the measured choice of the backend.
  config.ops = config_dict.ConfigDict()
  config.ops.backend = 'auto'  # auto | xla | cpu (kernels of our own for one CPU device)
  config.ops.fold_batch_norm = True  # evaluation: BatchNorm inside the convolutions' weights
  config.ops.remat = 'none'  # less memory: none | elementwise (convolutions are kept) | blocks

  # When to look, and when to save.
  config.log_steps = 100
  config.eval_epochs = 1.0  # from one evaluation to the next; 0 = only at the end
  config.early_stop = 0  # so many evaluations in a row without a better top-1 end it; 0 = never
  config.save_epochs = 1.0  # from one checkpoint to the next; the last step is always saved
  config.bad_steps = 10  # in a row may be not finite; they change nothing, one more ends it
  config.keep_checkpoints = 2  # newest ones; the best is kept besides
  config.watchdog_seconds = 1800.0  # nothing goes on for so long: ends with status 76; 0 = never
  config.tensorboard = True
  config.export = False  # at the end, write WORKDIR/export for PyTorch (timm)

  return config.lock()

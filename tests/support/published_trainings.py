"""The trainings of the recipes: values worked out by hand from their sources.

ImageNet has 1,281,167 training images. Sources: tensorflow/tpu (main.py, utils.py), timm (its
schedulers, param_groups_weight_decay), BangguWu/ECANet (main.py, light_main.py), the papers that
the recipes name.
"""

import dataclasses

IMAGES = 1_281_167
# Learning rates at 20 steps of each training.
RATES = {
  'tf at 4096': {
    0: 0.0, 109: 0.0178528, 547: 0.0895918, 1106: 0.181149, 1565: 0.24087, 2299: 0.233644,
    3722: 0.226635, 5474: 0.206844, 8758: 0.183117, 13137: 0.152531, 18611: 0.123243,
    25179: 0.093693, 33937: 0.0650082, 41600: 0.0479386, 49264: 0.0353511, 60211: 0.0223861,
    71159: 0.0146145, 84296: 0.00844645, 97433: 0.00503261, 109464: 0.0030913,
  },
  'tf at 1024': {
    0: 0.0, 438: 0.00448153, 2189: 0.0223974, 4423: 0.0452553, 6262: 0.0602176, 9196: 0.0584111,
    14889: 0.0566587, 21895: 0.0517109, 35032: 0.0457793, 52548: 0.0381329, 74443: 0.0308107,
    100717: 0.0234233, 135749: 0.016252, 166402: 0.0119847, 197055: 0.00883777,
    240844: 0.00559653, 284634: 0.00365362, 337182: 0.00211161, 389730: 0.00125815,
    437855: 0.000772825,
  },
  'timm': {
    0: 1e-06, 751: 1e-06, 3753: 0.0192006, 7582: 0.0384002, 10735: 0.0451632, 15764: 0.0438083,
    25523: 0.0399827, 37534: 0.0364911, 60055: 0.0303961, 90082: 0.0245595, 127616: 0.0186709,
    172657: 0.0133553, 232712: 0.00845727, 285260: 0.00552121, 337808: 0.00371592,
    412876: 0.00214762, 487945: 0.00120399, 578027: 0.000597545, 668109: 0.000305738,
    750609: 0.000161271,
  },
  'eca-net': {
    0: 0.1, 500: 0.1, 2502: 0.1, 5055: 0.1, 7157: 0.1, 10510: 0.1, 17016: 0.1, 25023: 0.1,
    40036: 0.1, 60055: 0.1, 85078: 0.1, 115105: 0.1, 155141: 0.01, 190173: 0.01, 225205: 0.01,
    275251: 0.01, 325296: 0.001, 385351: 0.001, 445406: 0.001, 500406: 0.0001,
  },
  'senet': {
    0: 0.6, 125: 0.6, 626: 0.6, 1264: 0.6, 1789: 0.6, 2627: 0.6, 4254: 0.6, 6256: 0.6,
    10009: 0.6, 15014: 0.6, 21269: 0.6, 28776: 0.6, 38785: 0.06, 47543: 0.06, 56301: 0.06,
    68813: 0.06, 81324: 0.006, 96338: 0.006, 111351: 0.006, 125101: 0.0006,
  },
  'mobilenetv2': {
    0: 0.045, 5338: 0.045, 29691: 0.043218, 53916: 0.0415066, 76336: 0.0406764, 112102: 0.0382843,
    181499: 0.034606, 269910: 0.0300424, 430056: 0.0235747, 643584: 0.0170633, 910493: 0.0113916,
    1230785: 0.00701474, 1657841: 0.0036749, 2031514: 0.00208726, 2405188: 0.00118551,
    2939008: 0.000528383, 3472827: 0.000235501, 4113411: 8.92984e-05, 4753994: 3.38607e-05,
    5337662: 1.42042e-05,
  },
  'blog': {
    0: 0.0, 65: 0.000665068, 325: 0.00332534, 656: 0.00671207, 930: 0.00951559, 1365: 0.0139664,
    2210: 0.0226123, 3250: 0.0332534, 5200: 0.0532054, 7800: 0.0638908, 11050: 0.0629537,
    14950: 0.0606024, 20150: 0.0555644, 24700: 0.049654, 29250: 0.0427035, 35750: 0.0317904,
    42250: 0.0209023, 50050: 0.00969398, 57850: 0.00231096, 64994: 1.64733e-09,
  },
  'a1': {
    0: 0.0001, 375: 0.0001, 1877: 0.00304, 3791: 0.00499877, 5367: 0.00499781, 7882: 0.00499507,
    12762: 0.00498631, 18767: 0.00497124, 30027: 0.0049247, 45041: 0.00482926, 63808: 0.00465856,
    86329: 0.0043754, 116356: 0.00390543, 142630: 0.00342063, 168904: 0.00289151,
    206438: 0.00212242, 243972: 0.00137743, 289013: 0.000634278, 334054: 0.000153234,
    375304: 1.03426e-06,
  },
  'a2': {
    0: 0.0001, 188: 0.0001, 938: 0.00108, 1895: 0.00304, 2684: 0.00402, 3941: 0.00499507,
    6381: 0.00498631, 9384: 0.00496923, 15014: 0.00492147, 22521: 0.00482448, 31904: 0.00466513,
    43164: 0.00439261, 58178: 0.00390543, 71315: 0.00342063, 84452: 0.00289151,
    103219: 0.00213537, 121986: 0.00138913, 144507: 0.000625597, 167027: 0.000157764,
    187652: 1.13705e-06,
  },
  'a3': {
    0: 0.0001, 63: 0.0001, 313: 0.0001, 632: 0.00168, 895: 0.00168, 1314: 0.00326, 2127: 0.00484,
    3128: 0.00795076, 5005: 0.00787435, 7507: 0.00771914, 10635: 0.00744304, 14388: 0.00708217,
    19393: 0.00624855, 23772: 0.00547281, 28151: 0.00462616, 34406: 0.00349923, 40662: 0.0022976,
    48169: 0.00100043, 55676: 0.000237447, 62551: 2.97351e-06,
  },
}

# Rates of the 16 blocks of B0, 0.2 * i / 16, and of the 16 of ResNet-50 in timm, 0.05 * i / 15.
B0_PATHS = (
  0, 0.0125, 0.025, 0.0375, 0.05, 0.0625, 0.075, 0.0875, 0.1, 0.1125, 0.125, 0.1375, 0.15, 0.1625,
  0.175, 0.1875,
)
RSB_PATHS = (
  0, 0.00333333, 0.00666667, 0.01, 0.0133333, 0.0166667, 0.02, 0.0233333, 0.0266667, 0.03,
  0.0333333, 0.0366667, 0.04, 0.0433333, 0.0466667, 0.05,
)
FROM_TEN = {0: 0.1, 90: 0.91, 10**4: 0.999100899, 10**6: 0.9999}  # (1 + t) / (10 + t)
AT_ONCE = {0: 0.9999, 10**6: 0.9999}
OFF = {}


@dataclasses.dataclass(frozen=True)
class Expected:
  """What a training must be.

  Attributes:
    recipe: file of configs/, with what stands behind the colon.
    rates: a name of RATES.
    batch: images per step.
    decayed: parameters that decay, of `parameters`.
    parameters: of the network.
    ema: step -> decay; {} = off.
    paths: drop-path's rates; () = 0 in all blocks.
    optimizer: its name and weight decay.
    smoothing: of the labels.
    data: pixels, part of the image in evaluation, interpolation.
    changes: what the command line sets.
    augment: keys of `augment` and `mix` that are not off, beside crop and mirroring.
  """

  recipe: str
  rates: str
  batch: int
  decayed: int
  parameters: int
  ema: dict
  paths: tuple
  optimizer: tuple
  smoothing: float
  data: tuple
  changes: dict = dataclasses.field(default_factory=dict)
  augment: dict = dataclasses.field(default_factory=dict)


def changed(expected, **fields):
  return dataclasses.replace(expected, **fields)


RMSPROP, SGD = ('rmsprop_tf', 1e-5), ('sgd', 1e-4)
TF = Expected('tf_efficientnet', 'tf at 4096', 4096, 5_246_532, 5_288_548, FROM_TEN, B0_PATHS,
              RMSPROP, 0.1, (224, 0.875, 'bicubic'), augment={'augment.policy': 'autoaugment'})
PLAIN = changed(TF, rates='tf at 1024', batch=1024, augment={})
ECA = Expected('eca_resnet', 'eca-net', 256, 25_557_112, 25_557_112, OFF, (), SGD, 0.0,
               (224, 0.875, 'bilinear'))
NAME = lambda name: {'model.name': name}
# timm's rand-m9-mstd0.5 and rand-m7-mstd0.5-inc1; mixup or cutmix, one batch in two each.
TIMM_RAND = {
  'augment.policy': 'randaugment', 'augment.magnitude': 9.0, 'augment.magnitude_std': 0.5,
  'augment.increasing': False, 'augment.layers': 2, 'augment.probability': 0.5,
  'augment.erasing': 0.2, 'augment.erasing_mode': 'pixel',
}
RSB_RAND = {
  'augment.policy': 'randaugment', 'augment.magnitude': 7.0, 'augment.magnitude_std': 0.5,
  'augment.increasing': True, 'mix.mixup_alpha': 0.1, 'mix.cutmix_alpha': 1.0, 'mix.prob': 1.0,
  'mix.switch_prob': 0.5,
}
A2 = Expected('resnet_rsb:a2', 'a2', 2048, 25_502_912, 25_557_032, OFF, RSB_PATHS,
              ('lamb', 0.02), 0.0, (224, 0.95, 'bicubic'), augment=RSB_RAND)
EXPECTED = {
  'tf b0': TF,
  'tf b0 at 1024': changed(TF, rates='tf at 1024', batch=1024, changes={'batch_size': 1024}),
  'efficientnet_b0': changed(PLAIN, recipe='efficientnet_b0'),
  'eca_b0': changed(PLAIN, recipe='eca_b0', decayed=4_610_068, parameters=4_652_084),
  'slides': changed(TF, recipe='b0_variants', decayed=5_117_748, parameters=5_159_764),
  'blog': changed(PLAIN, recipe='b0_attention', rates='blog', decayed=4_610_068,
                  parameters=4_652_084),
  'blog, none': changed(PLAIN, recipe='b0_attention', rates='blog', decayed=4_609_992,
                        parameters=4_652_008, changes=NAME('b0_nose_all')),
  'timm b0': changed(TF, recipe='timm_b0', rates='timm', batch=768, decayed=5_236_192,
                     ema=AT_ONCE, augment=TIMM_RAND),
  'eca resnet50': ECA,
  'eca resnet18': changed(ECA, decayed=11_689_556, parameters=11_689_556,
                          changes=NAME('eca_resnet18_k3577')),
  'eca mobilenetv2': changed(
    ECA, recipe='eca_mobilenetv2', rates='mobilenetv2', batch=96, decayed=3_504_903,
    parameters=3_504_903, optimizer=('sgd', 4e-5),
  ),
  'senet': changed(ECA, recipe='senet', rates='senet', batch=1024, decayed=28_071_976,
                   parameters=28_071_976, augment={'augment.rotation': 10.0}),
  'a1': changed(A2, recipe='resnet_rsb:a1', rates='a1', optimizer=('lamb', 0.01), smoothing=0.1,
                augment={**RSB_RAND, 'mix.mixup_alpha': 0.2}),
  'a2': A2,
  'a3': changed(A2, recipe='resnet_rsb:a3', rates='a3', paths=(), data=(160, 0.95, 'bicubic'),
                augment={**RSB_RAND, 'augment.magnitude': 6.0}),
}

"""Every registered network by tracing it once: published figures, exact counts, parameter names."""

import json
import pathlib

import pytest

from ecanet_jax import list_models
from ecanet_jax.detection import table as detectors
from ecanet_jax.models import network, table
from tests.support import golden

# Exact counts of an independent calculator, block by block from the documents' tables: parameters,
# multiply-adds (or, where another convention is named, its operations). None: not calculated.
EXACT = {
  'efficientnet_b0': (5_288_548, 385_814_752),
  'eca_efficientnet_b0': (4_652_084, 385_232_096),
  'b0_nose_all': (4_652_008, 385_187_552),
  'b0_seend_noskip': (5_159_764, 385_688_000),
  'b0_seend_hasskip': (4_906_788, 385_438_112),
  'b0_seend_all': (4_778_004, 385_311_360),
  'b0_nose_noskip': (5_110_376, 385_639_520),
  'b0_nose_hasskip': (4_830_180, 385_362_784),
  'mec_a_e1': (4_621_644, 354_784_352),
  'mec_a_e2': (4_809_916, 398_794_912),
  'mec_a_e3': (4_998_188, 442_805_472),
  'mec_a_e4': (5_186_460, 486_816_032),
  'mec_a_e5': (5_374_732, 530_826_592),
  'mec_a_e6': (5_563_004, 574_837_152),
  'mec_b_e1': (4_082_006, 315_968_448),
  'mec_b_e2': (4_352_070, 398_910_080),
  'mec_b_e3': (4_622_134, 481_851_712),
  'mec_b_e4': (4_892_198, 564_793_344),
  'mec_b_e5': (5_162_262, 647_734_976),
  'mec_c_e1': (4_241_246, 347_098_464),
  'mec_c_e1_5': (4_455_862, 404_134_288),
  'mec_c_e2': (4_670_478, 461_170_112),
  'mec_c_e2_5': (4_885_094, 518_205_936),
  'mec_c_e3': (5_099_710, 575_241_760),
  'mec_c_e3_5': (5_314_326, 632_277_584),
  'efficientnet_lite0': (4_652_008, 385_187_552),
  'b0_stage2_dwconv3x3': (4_653_000, 398_032_608),
  'b0_stage2_conv3x3': (4_655_752, 432_955_104),
  'b0_stage2_conv1x1': (4_651_656, 381_574_880),
  'b0_stage2_remove': (4_652_648, 394_419_936),
  'b0_conv131': (4_650_296, 388_549_344),
  'b0_compact': (4_649_672, 386_743_008),
  'efficientnet_b1': (7_794_184, 686_802_832),
  'efficientnet_b2': (9_109_994, 993_561_872),
  'efficientnet_b3': (12_233_232, 1_827_141_392),
  'efficientnet_b4': (19_341_616, 4_393_771_024),
  'efficientnet_b5': (30_389_784, 10_266_384_752),
  'efficientnet_b6': (43_040_704, 19_067_593_536),
  'efficientnet_b7': (66_347_960, 37_745_884_192),
  # ECA-Net, Table 1
  'resnet50_se_var1': (25_557_032, None),
  'resnet50_se_var2': (25_572_136, None),
  'resnet50_se_var3': (45_676_584, None),
  'resnet50_se_gc1': (26_814_504, None),
  'resnet50_se_gc2': (25_798_696, None),
  'resnet50_se_gc3': (25_677_864, None),
  'resnet50_eca_ns_k3': (25_602_344, None),
  'resnet50_eca_k3': (25_557_080, None),
  # SENet slides' positions
  'se_resnet50_post': (28_071_976, None),
  'se_resnet50_identity': (28_071_976, None),
  'se_resnet50_pre': (27_548_200, None),
  'gsop_resnet50': (28_054_440, 6_204_227_584),
  'a2_resnet50': (32_915_496, 6_426_984_448),
  'aa_resnet50': (25_813_872, None),
  'aa_resnet101': (45_391_208, None),
  'vgg16': (138_357_544, 15_470_264_320),
  'bn_inception': (None, 2_032_600_064),
  'inception_resnet_v2': (None, 13_155_794_016),
}

# The same in other conventions.
OPERATIONS = {
  'thop_shared_relu': {
    'resnet50': (25_557_032, 4_143_918_104),
    'se_resnet50': (28_071_976, 4_154_482_456),
    'cbam_resnet50': (28_073_576, 4_155_841_422),
    'eca_resnet50_k5': (25_557_112, 4_149_528_088),
    'resnet101': (44_549_160, 7_880_023_064),
    'se_resnet101': (49_292_328, 7_898_473_240),
    'cbam_resnet101': (49_295_628, 7_900_158_742),
    'eca_resnet101_k5': (44_549_325, 7_889_149_464),
    'resnet152': (60_192_808, 11_621_747_736),
    'se_resnet152': (66_770_984, 11_648_098_072),
    'eca_resnet152_k5': (60_193_058, 11_635_181_080),
  },
  'thop': {
    'mobilenetv2_100': (3_504_872, 334_871_512),
    'se_mobilenetv2': (3_561_800, 335_559_192),
    'eca_mobilenetv2_k13': (3_504_903, 335_449_016),
  },
  'tf_profiler_aux': {
    'efficientnet_b0': (5_609_548, 391_565_108),
    'efficientnet_lite0': (4_973_008, 385_547_752),
    'b0_stage2_dwconv3x3': (4_974_000, 398_392_808),
    'b0_stage2_conv3x3': (4_976_752, 433_315_304),
    'b0_stage2_conv1x1': (4_972_656, 381_935_080),
    'b0_stage2_remove': (4_973_648, 394_780_136),
    'b0_conv131': (4_971_296, 388_909_544),
    'b0_compact': (4_970_672, 387_103_208),
  },
  'adds_and_scale': {
    'resnet50_v1': (25_557_032, 3_863_492_608),
    'se_resnet50_v1': (28_071_976, 3_871_526_912),
    'resnet101_v1': (44_549_160, 7_579_125_760),
    'se_resnet101_v1': (49_292_328, 7_592_800_256),
    'resnet152_v1': (60_192_808, 11_295_561_728),
    'se_resnet152_v1': (66_770_984, 11_315_286_016),
    'resnext50_32x4d': (25_028_904, 4_235_999_232),
    'se_resnext50_32x4d': (27_543_848, 4_244_033_536),
    'resnext101_32x4d': (44_177_704, 7_978_928_128),
    'se_resnext101_32x4d': (48_920_872, 7_992_602_624),
  },
  'squeeze_and_scale': {
    'se_vgg16': (138_433_832, 15_482_583_552),
    'se_bn_inception': (None, 2_035_600_832),
  },
}

CASES = [(name, 'multiply_adds', *exact) for name, exact in EXACT.items()] + [
  (name, convention, *exact)
  for convention, networks in OPERATIONS.items() for name, exact in networks.items()
]
DEEP = ('101', '152')  # tracing them takes seconds; what they consist of is in the others, too


def with_slow(case):
  deep = any(depth in case[0] for depth in DEEP)
  return pytest.param(*case, marks=pytest.mark.slow) if deep else case


@pytest.mark.parametrize(
  ('name', 'convention', 'parameters', 'operations'), [with_slow(case) for case in CASES]
)
def test_exact_counts(name, convention, parameters, operations):
  counted = table.count_network(name)
  if parameters is not None:
    assert counted.parameters(convention=convention) == parameters
  if operations is not None:
    assert counted.operations(convention=convention) == operations


@pytest.mark.parametrize('name', [name for name in list_models() if network(name).published])
def test_published_figures_are_met_or_the_row_says_why(name):
  for published in network(name).published:
    row = table.make_row(network(name), published)
    assert row.matches == (not published.why), table.text_line(row)
    assert published.parameters or published.multiply_adds or published.top1


COUNTED = sorted({name for name, *_ in CASES} | {n for n in list_models('tiny*')})


# The names that the tests above count, and in make test-all every one.
@pytest.mark.parametrize('names', [COUNTED, pytest.param(list_models(), marks=pytest.mark.slow)])
def test_parameter_names_are_an_interface(names):
  expected = json.loads((golden.FOLDER / 'fingerprints.json').read_text())
  assert set(expected) == set(list_models()), 'stale: python -m tests.support.golden'
  ours = {name: golden.fingerprint(table.count_network(name).shapes) for name in names}
  changed = [name for name in names if ours[name] != expected[name]]
  assert not changed, (
    f'parameter trees changed: {changed}; if that is meant: python -m tests.support.golden'
  )


def test_docs_page_names_every_network():
  page = pathlib.Path('docs/networks.md').read_text()
  lines = [line.split(' | ')[0] for line in page.splitlines()]
  stale = [
    name for name in list_models()
    if lines.count(f'| {name}') != len(network(name).published) + 1
  ]
  assert not stale, f'{stale}: python -m ecanet_jax models --table --markdown'


@pytest.mark.slow
def test_docs_page_is_the_tables():
  page = pathlib.Path('docs/networks.md').read_text()
  assert page == '\n'.join([*table.markdown(), *detectors.markdown()]) + '\n', (
    'stale: python -m ecanet_jax models --table --markdown'
  )


def test_every_network_of_the_documents_is_published_once():
  seen = {}
  for name in list_models():
    for published in network(name).published:
      key = (published.source, published.parameters, published.multiply_adds, published.top1)
      seen.setdefault(key, []).append(name)
  assert not {key: names for key, names in seen.items() if len(names) > 1}

"""Libraries are imported without what they import and do not need here."""

from tests.support import programs

PROGRAM = '''
import sys
from ecanet_jax.imports import as_if_missing
{work}
print(sorted({{'keras', 'sklearn', 'torch'}} & set(sys.modules)))
'''


def test_what_is_not_imported():
  work = '''
from ecanet_jax.data.tfdata.tf_import import tensorflow
import ecanet_jax.training.logging.tensorboard
tf = tensorflow()
'''
  assert programs.run('-c', PROGRAM.format(work=work)).stdout.strip() == '[]'
  # A user's own code still has them.
  later = work + 'assert tf.keras.layers.Dense(3)(tf.ones((2, 2))).shape == (2, 3)\nimport torch'
  assert 'keras' in programs.run('-c', PROGRAM.format(work=later)).stdout


def test_as_if_missing():
  work = '''
import json
for package in ('json', 'csv', 'json'):
  with as_if_missing(package):
    try:
      __import__(package)
      print(package, 'is there')
    except ImportError:
      print(package, 'is missing')
import csv
'''
  said = programs.run('-c', PROGRAM.format(work=work)).stdout.splitlines()
  assert said[:3] == ['json is there', 'csv is missing', 'json is there']

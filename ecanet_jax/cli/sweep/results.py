"""The results of a sweep: table.md, results.json and three pictures."""

import collections
import dataclasses
import importlib.metadata
import json
import statistics
import textwrap
from collections.abc import Callable
from typing import Any

from ecanet_jax.analysis.curves import Curve, draw_curves, read_curve
from ecanet_jax.cli.sweep import statistics as seeds
from ecanet_jax.cli.sweep.definition import Run, Sweep
from ecanet_jax.cli.sweep.picture import draw_variants
from ecanet_jax.cli.sweep.worker import DONE
from ecanet_jax.evaluation.summary import data_name
from ecanet_jax.runtime import machine, paths
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.tasks.choice import shown_metrics
from ecanet_jax.tasks.task import Metric
from ecanet_jax.training.logging.writers import read_metrics
from ecanet_jax.version import __version__

_LOSS = {'loss'}  # which the evaluation of a detector lacks
PACKAGES = ('jax', 'jaxlib', 'flax', 'optax')
COLUMNS = 100  # of the text below a table


def write(
  sweep: Sweep, workdir: paths.Path, failed: dict[Run, str], command: str, smooth: int
) -> str:
  """Writes the results of the finished runs and returns the table.

  Args:
    sweep: the sweep.
    workdir: its directory.
    failed: the unfinished runs, with one line each.
    command: the sweep's command line, for the reader.
    smooth: number of evaluations averaged in a point of a curve.

  Raises:
    UserError: no run is finished.
  """
  runs = [_figures(run, workdir / run.folder) for run in sweep.runs if run not in failed]
  if not runs:
    raise UserError(f'no run is finished: {next(iter(failed.values()))}')
  metrics = shown_metrics(runs[0])
  figures = [*(metric.name for metric in metrics), *_LOSS.intersection(runs[0]), 'seconds']
  by_variant = collections.defaultdict(list)
  for run in runs:
    by_variant[run['variant']].append(run)
  report = {
    'variants': [
      {'variant': variant, 'parameters': sweep.parameters[variant], 'n': len(group),
       **{key: _mean_and_deviation([run[key] for run in group]) for key in figures}}
      for variant, group in by_variant.items()
    ],
    'comparisons': _comparisons(by_variant, metrics[0]),
    'runs': runs,
    'failed': {run.name: why for run, why in failed.items()},
    'command': command,
    'machine': machine.describe(),
    'versions': {'ecanet_jax': __version__,
                 **{name: importlib.metadata.version(name) for name in PACKAGES}},
  }
  table = _table(report)
  paths.write_whole(workdir / 'results.json', json.dumps(report, indent=2) + '\n')
  paths.write_whole(workdir / 'table.md', table)
  curves = {
    variant: [_curve(run['curve'], metrics[0]) for run in group]
    for variant, group in by_variant.items()
  }
  heading = title(sweep.record)
  for axis, name in (('images', 'images'), ('seconds', 'time')):
    path = workdir / f'{metrics[0].name}_by_{name}.png'
    draw_curves(curves, axis, path, smooth, metrics[0], heading)
  last = {name: [run[metrics[0].name] for run in group] for name, group in by_variant.items()}
  draw_variants(last, workdir / f'{metrics[0].name}_by_variant.png', metrics[0], heading)
  return table


def title(record: dict[str, Any]) -> str:
  """What a sweep trains on which data; more than three networks or data sets as their number."""
  configs, varied = record['config'].values(), record['vary']

  def values(key: str, of: Callable[[dict], str], kind: str) -> str:
    names = varied.get(key) or [*dict.fromkeys(of(config) for config in configs)]
    return ', '.join(names) if len(names) <= 3 else f'{len(names)} {kind}'

  network = values('model.name', lambda config: config['model']['name'], 'networks')
  return f'{network} on {values("data.name", data_name, "data sets")}'


def _curve(curve: dict[str, list], headline: Metric) -> Curve:
  return Curve(curve['images'], curve['seconds'], curve[headline.name])


def _figures(run: Run, folder: paths.Path) -> dict[str, Any]:
  """A run's last evaluation and its curve."""
  done = json.loads((folder / DONE).read_text())
  headline = shown_metrics(done)[0].name
  curve = read_curve(folder, f'eval/{headline}', run.batch_size)
  seconds = sum(line.get('train/seconds', 0.0) for line in read_metrics(folder))
  return {
    'variant': run.variant, 'seed': run.seed, **done, 'images': done['step'] * run.batch_size,
    'seconds': seconds,
    'curve': {'images': curve.images, 'seconds': curve.seconds, headline: curve.values},
  }


def _mean_and_deviation(values: list[float]) -> dict[str, float | None]:
  """The mean and the sample standard deviation (n - 1); None for the deviation of one value."""
  return {
    'mean': statistics.fmean(values),
    'std': statistics.stdev(values) if len(values) > 1 else None,
  }


def _comparisons(
  by_variant: dict[str, list[dict[str, Any]]], headline: Metric
) -> list[dict[str, Any]]:
  """Each variant minus the first one in the headline metric, over the seeds that both have."""
  by_seed = {
    variant: {run['seed']: run for run in group} for variant, group in by_variant.items()
  }
  (first, reference), *others = by_seed.items()
  compared = []
  for variant, runs in others:
    both = [seed for seed in reference if seed in runs]
    if len(both) > 1:
      values, base = ([side[seed][headline.name] for seed in both] for side in (runs, reference))
      step = 1 / reference[both[0]]['seen'] if headline.of_images else 0.0
      compared.append((variant, seeds.compare(values, base, resolution=step)))
  corrected = seeds.holm([comparison.p for _, comparison in compared])
  return [
    {'variant': variant, 'reference': first, **dataclasses.asdict(comparison), 'p_holm': p,
     'verdict': seeds.verdict(comparison.mean, p)}
    for (variant, comparison), p in zip(compared, corrected, strict=True)
  ]


def _comparison_table(comparisons: list[dict[str, Any]], headline: Metric) -> str:
  """The comparisons as a table with its caption; '' if there are none."""
  if not comparisons:
    return ''
  points = lambda value: f'{headline.scale * value:+.2f}'
  between = lambda ends: f'{points(ends[0])} to {points(ends[1])}'
  rows = [
    [f'{headline.title} against {comparisons[0]["reference"]}', 'difference', '95 % interval',
     'bootstrap', 'p', 'smallest', 'n', 'verdict'],
  ]
  rows.append(['---'] * len(rows[0]))
  for one in comparisons:
    rows.append([
      f'*{one["variant"]}*', points(one['mean']), between(one['interval']),
      between(one['bootstrap']), f'{one["p_holm"]:.3f}',
      f'{headline.scale * one["smallest"]:.2f}', str(one['n']), one['verdict'],
    ])
  caption = (
    'Differences in points, paired by seed: runs of one seed see the same images in the same '
    'order. Interval and p are of the paired t-test; p is corrected for the number of rows '
    '(Holm). Smallest: the true difference that n seeds see in four of five sweeps. The bootstrap '
    'interval is too narrow for fewer than about ten seeds.'
  )
  return '\n'.join('| ' + ' | '.join(row) + ' |' for row in rows) + f'\n\n{_fill(caption)}\n\n'


def _table(report: dict[str, Any]) -> str:
  metrics = shown_metrics(report['runs'][0])
  losses = [*_LOSS.intersection(report['runs'][0])]
  rows = [
    ['variant', *(metric.heading for metric in metrics), *losses, 'n',
     'parameters', 'images seen', 'training, s'],
  ]
  rows.append(['---'] * len(rows[0]))
  for variant in report['variants']:
    group = [run for run in report['runs'] if run['variant'] == variant['variant']]
    rows.append([
      variant['variant'],
      *(_spread(variant[metric.name], 2, metric.scale) for metric in metrics),
      *(_spread(variant[name], 4) for name in losses),
      str(variant['n']), f'{variant["parameters"]:,}', f'{group[0]["images"]:,}',
      _spread(variant['seconds'], 1),
    ])
  missing = ''.join(f'\nFAILED: {name}: {why}' for name, why in report['failed'].items())
  devices = sorted({run['device'] for run in report['runs']})
  seen = sorted({run['seen'] for run in report['runs']})
  versions = ', '.join(f'{name} {version}' for name, version in report['versions'].items())
  about = report['machine']
  body = '\n'.join('| ' + ' | '.join(row) + ' |' for row in rows)
  caption = (
    'Mean ± standard deviation (n - 1) over n seeds of the last evaluation, '
    f'{" or ".join(f"{number:,}" for number in seen)} images; time without evaluation.'
  )
  machine_line = (
    f'{about["date"]}; {", ".join(devices)}; {about["cpu"]}, {about["cpus"]} CPUs; '
    f'{about["system"]}; {versions}'
  )
  command = report['command'].replace(' --', ' \\\n  --')
  compared = _comparison_table(report['comparisons'], metrics[0])
  text = f'{body}\n{missing}\n{_fill(caption)}\n\n{compared}'
  return f'{text}```bash\n{command}\n```\n\n{_fill(machine_line)}\n'


def _fill(text: str) -> str:
  return textwrap.fill(text, COLUMNS, break_long_words=False, break_on_hyphens=False)


def _spread(figure: dict[str, float | None], digits: int, factor: float = 1.0) -> str:
  mean, deviation = figure['mean'], figure['std']
  text = f'{factor * mean:.{digits}f}'
  return text if deviation is None else f'{text} ± {factor * deviation:.{digits}f}'

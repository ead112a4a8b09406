"""A report as lines of text."""

from ecanet_jax.aot.hlo import in_units
from ecanet_jax.aot.report import SMALL, Report

GIGA, MILLI, MEGA = 1e9, 1e-3, 1e6


def lines(report: Report) -> list[str]:
  """The report as text. Faults are not in it."""
  memory = ', '.join(
    f'{name} {report.memory[name] / GIGA:.3f}'
    for name in ('arguments', 'outputs', 'temporaries', 'aliased')
  )
  text = [
    'From the compiled program, not from a device. All figures are for one chip and one step.',
    f'program      {report.step} on {report.topology}, {report.batch_size // report.chips} of '
    f'{report.batch_size} images, {_size(report.image_size)} px, {report.compute_dtype} '
    f'(compiled in {report.compile_seconds:.0f} s)',
    f'HBM peak     {report.memory["peak"] / GIGA:.3f} of {report.hbm / GIGA:.1f} GB ({memory})',
    *(f'  {each}' for each in report.largest_arrays),
    f'work         {report.flops / 1e12:.3f} TFLOP, {report.bytes_accessed / GIGA:.2f} GB accessed',
    f'roofline     {report.roofline["flops"] / MILLI:.2f} ms by FLOPs, '
    f'{report.roofline["bytes"] / MILLI:.2f} ms by bytes',
    *_time(report),
    f'fusions      {report.fusions["count"]}, of which {report.fusions["small"]} write less than '
    f'{in_units(SMALL)}',
    f'copies       {report.copies["count"]}, {in_units(report.copies["bytes"])}',
    *(f'  {each}' for each in report.largest_copies),
    f'collectives  {sum(group.count for group in report.collectives)}',
    *(f'  {group.count} x {group.kind} {group.dtype}, {in_units(group.bytes)}, the largest '
      f'{in_units(group.largest)}' for group in report.collectives),
  ]
  if report.custom_calls:
    calls = ', '.join(f'{count} x {name}' for name, count in sorted(report.custom_calls.items()))
    text.append(f'custom calls {calls}')
  if report.loops:
    runs = ', '.join(str(times) if times else 'an unknown number' for times in report.loops)
    text.append(
      f'loops        {len(report.loops)}, times: {runs}. TFLOP and GB count each once; so do the '
      'cycles where the number is unknown.'
    )
  return text + [f'warning: {each}' for each in report.warnings]


def _size(size: int | tuple[int, int]) -> str:
  return str(size) if isinstance(size, int) else f'{size[0]} x {size[1]}'


def _time(report: Report) -> list[str]:
  """The estimate of the time and what it is made of."""
  if report.seconds is None:
    return [
      'estimate     none, because this compiler counts no cycles. The roofline alone would be '
      f'{report.roofline_images_per_second:,.0f} images/s a chip.'
    ]
  total = sum(report.cycles.values())
  return [
    f'estimate     {report.seconds / MILLI:.2f} ms, {report.images_per_second:,.0f} images/s a '
    'chip, without network and input',
    f'cycles       {total / MEGA:.3f} million',
    *(f'  {kind:<24}{count / MEGA:>10.3f}{100 * count / total:>7.1f} %'
      for kind, count in report.cycles.items()),
  ]

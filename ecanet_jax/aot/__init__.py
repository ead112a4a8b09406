"""Ahead-of-time compilation for TPUs and GPUs that this machine does not have.

JAX compiles for a described topology, so the compiler's own figures of a training or evaluation
step can be read before any device is rented. They are a model's, not measurements.

  program = compile_step(load_config('configs/eca_b0.py'), 'v5e:2x2', 'train')
  report = make_report(program)
"""

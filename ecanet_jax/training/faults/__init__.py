"""Faults of a training: preemption, hangs, steps that are not finite."""

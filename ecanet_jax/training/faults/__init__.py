"""Faults in training: preemption, hangs, steps that are not finite."""

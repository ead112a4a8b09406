"""What can go wrong in a training: preemption, hangs, steps that are not finite."""

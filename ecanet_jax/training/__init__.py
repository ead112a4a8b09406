"""Training: the trainer, its step, state, optimizer and schedule, faults and logging."""

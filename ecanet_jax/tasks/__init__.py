"""The tasks that the trainer can train, and what it must know of one."""

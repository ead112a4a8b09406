"""The tasks that the trainer can train, and their interface."""

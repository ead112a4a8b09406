"""What the trainer knows of a task."""

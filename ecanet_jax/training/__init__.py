"""What happens each step: state, step, optimizer, schedule, sharding, evaluation, checkpoints."""

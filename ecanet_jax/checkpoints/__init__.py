"""What is saved of a training and loaded again, and whether it is sound."""

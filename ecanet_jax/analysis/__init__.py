"""What a trained network does, in pictures."""

"""What the attention does for the result: a trained network with other attention weights."""

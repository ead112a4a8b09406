"""What the attention of a trained network does: its values by class, and what depends on them."""

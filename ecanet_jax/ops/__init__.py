"""Hot functions with hand-written gradients, each beside its plain reference."""

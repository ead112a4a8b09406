"""The configuration: every key once, and what is done with whole configurations."""

"""Weights folders in the format of timm and the Hugging Face hub."""

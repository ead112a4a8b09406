"""Augmentation of single images on the host."""

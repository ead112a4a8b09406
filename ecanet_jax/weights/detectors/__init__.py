"""Weights of detectors."""

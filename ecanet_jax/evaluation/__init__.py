"""Exact evaluation, its metrics, test-time augmentation and reports."""

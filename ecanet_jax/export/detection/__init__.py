"""A trained detector as a file for other runtimes, compared by its detections."""

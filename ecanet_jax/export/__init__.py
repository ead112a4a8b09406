"""A trained network as a file for other runtimes; each file is run and compared in its own."""

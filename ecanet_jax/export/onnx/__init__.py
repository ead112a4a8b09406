"""ONNX files: tracing, translation to operators, and the file."""

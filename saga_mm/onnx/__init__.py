"""Exported ONNX files: metadata, checks, and ONNX Runtime."""

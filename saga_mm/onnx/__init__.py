"""Exported models: ONNX files, their facts, and ONNX Runtime."""

"""Checkpoint to ONNX with proof of parity. Needs torch and onnx."""

"""Networks as models of ONNX, run by onnxruntime."""

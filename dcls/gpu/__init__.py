"""Triton kernels of the depthwise convolution; Triton is imported when one is first asked for."""

"""Kernels in C++ for the CPU, built on first use; everything works without them, slower."""

"""Tests compute on one thread: their tensors are tiny, and threads would only wait.

Without a GPU, Triton's kernels are interpreted on the CPU.
"""

import os

import torch

torch.set_num_threads(1)
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

"""Tests compute on one thread: their tensors are tiny, and threads would only wait."""

import torch

torch.set_num_threads(1)

"""Tensors of torch as arrays of numpy and back, without copies where memory is shared."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def as_array(tensor: Tensor) -> NDArray[Any]:
    """The tensor's values, float32 or float64; a view of them where the tensor has such a type and lies in main memory."""
    values = tensor.detach()
    if values.dtype not in (torch.float32, torch.float64):
        values = values.to(torch.float32)
    return np.asarray(values.cpu().numpy())


def as_tensor(array: NDArray[Any], like: Tensor) -> Tensor:
    """`array` with the type and on the device of `like`."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(device=like.device, dtype=like.dtype)

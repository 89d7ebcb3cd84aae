"""Parameters of exported PyTorch programs: number format, share of non-zeros, N:M pattern; NaN is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fiberloom.errors import SpecError
from fiberloom.workload.density.patterns import find_pattern
from fiberloom.workload.importers.torch_export_values import number_format
from fiberloom.workload.network import NetworkTensor, Role

_NAMED = 6
"""Tensors that a message names before it says how many more there are."""


def parameter_tensor(name: str, value: Any, role: Role) -> NetworkTensor:
    """The network's tensor for a PyTorch tensor: its number format, and its density unless that is 1 or it has no data."""
    written, bits = number_format(value.dtype)
    shape = tuple(int(s) for s in value.shape)
    density = _density(value) if role is Role.PARAMETER else None
    return NetworkTensor(name, shape, role, written, bits, density)


def refuse_nan(tensors: Mapping[str, Any]) -> None:
    """Raise if a tensor has a NaN.

    Raises:
        SpecError: naming the tensors.
    """
    bad = [name for name, value in tensors.items() if _has_nan(value)]
    if bad:
        raise SpecError(
            f"parameters hold NaN: {listed(bad)}",
            hint="NaN is neither zero nor a value: repair the checkpoint (a diverged training, a broken conversion)",
        )


def listed(names: Iterable[str]) -> str:
    """A few names, and how many more there are."""
    names = list(names)
    more = len(names) - _NAMED
    return ", ".join(f"'{n}'" for n in names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def has_data(value: Any) -> bool:
    """Whether a PyTorch tensor has elements to look at (not on the device ``meta``, not fake, not empty)."""
    return value.device.type != "meta" and type(value).__name__ != "FakeTensor" and value.numel() > 0


def nonzeros(value: Any) -> Any:
    """Where a PyTorch tensor is non-zero, as a NumPy mask of its shape."""
    plain = _plain(value)
    return plain.ne(0).cpu().numpy()


def _plain(value: Any) -> Any:
    """Dense, and of a number format that can be compared."""
    value = value.detach()
    if value.is_quantized:
        return value.dequantize()
    if value.layout is not _strided(value):
        value = value.to_dense()
    if "float8" in str(value.dtype):
        value = value.float()
    return value


def _strided(value: Any) -> Any:
    import importlib

    return importlib.import_module("torch").strided if value.layout is not None else None


def _has_nan(value: Any) -> bool:
    if not has_data(value) or not (value.is_floating_point() or value.is_complex()):
        return False
    plain = _plain(value)
    # A sum of finite numbers is NaN only through infinities; most tensors need no second look.
    return bool(plain.sum().isnan()) and bool(plain.isnan().any())


def _density(value: Any) -> float | str | None:
    if not has_data(value):
        return None
    plain = _plain(value)
    share = int(plain.count_nonzero()) / plain.numel()
    if share == 1.0:
        return None
    pattern = find_pattern(plain.ne(0).cpu().numpy()) if plain.dim() > 1 else None
    return share if pattern is None else str(pattern)

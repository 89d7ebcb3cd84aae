"""The tensors that commands on representations are given by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import Location, SpecError, nearest


class NamedTensor(NamedTuple):
    """A tensor and what it is called."""

    name: str
    values: NDArray[Any]


def read_tensor(text: str) -> NamedTensor:
    """The tensor that ``x.npy``, ``x.npz:name`` or ``x.safetensors:name`` names; the only one of a file needs no name.

    Raises:
        SpecError: if there is no such file or tensor, or the file can't be read.
        MissingExtraError: if its format needs a package that is not installed.
    """
    if text.endswith(".npy"):
        path = Path(text)
        try:
            return NamedTensor(path.stem, np.load(path, allow_pickle=False))
        except FileNotFoundError:
            raise SpecError("there is no such file", where=Location(text)) from None
        except (OSError, ValueError, EOFError) as error:
            raise SpecError(f"can't be read: {error}", where=Location(text), hint="is it complete?") from None
    from fiberloom.workload.profile.weights import read_weights

    file, _, name = text.partition(":")
    found = {weights.name: weights.values for weights in read_weights(Path(file)) if name in ("", weights.name)}
    if len(found) == 1:
        return NamedTensor(*found.popitem())
    names = [weights.name for weights in read_weights(Path(file))]
    if name:
        raise SpecError(f"there is no tensor '{name}'", where=Location(file), hint=nearest(name, names))
    raise SpecError(
        f"it holds {len(names)} tensors", where=Location(file), hint=f"name one: {file}:{(names or ['…'])[0]}"
    )

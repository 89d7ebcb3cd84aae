"""Represented tensors written to files; the file that was read is never replaced unless that is asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.cli.saving import refuse_unwritable
from fiberloom.errors import FiberloomError, MissingExtraError, SpecError, UnsupportedError

if TYPE_CHECKING:
    from fiberloom.codesign.assessment import Assessment, NamedScheme

_FORMATS: Final = (".npy", ".npz", ".safetensors")


@dataclass(frozen=True)
class TensorSaving:
    """What is to be saved, refused early when it can't be.

    Attributes:
        model: what is read.
        output: the represented tensors, with everything else that the file of tensors holds.
        terms: the terms, one array for each.
        overwrite: whether `output` may be the file that is read.

    Raises:
        FiberloomError: for a file that can't be written, or is the one that is read.
    """

    model: str
    output: Path | None
    terms: Path | None
    overwrite: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        read = _file_of(self.model)
        for path, option, known in ((self.output, "-o", _FORMATS), (self.terms, "--save-terms", _FORMATS[1:])):
            if path is None:
                continue
            refuse_unwritable(path)
            if path.suffix not in known:
                raise SpecError(
                    f"{option} {path}: files of this kind are not written", hint="known: " + ", ".join(known)
                )
            if path.suffix == ".safetensors":
                _safetensors()
            same = read is not None and path.exists() and os.path.samefile(path, read)
            if same and not (self.overwrite and path == self.output):
                raise SpecError(
                    f"{option} {path} is the file that is read", hint="name another, or add --overwrite to -o"
                )

    @property
    def wanted(self) -> bool:
        """Whether anything is."""
        return self.output is not None or self.terms is not None

    def write(self, assessment: Assessment, named: NamedScheme) -> None:
        """Represent the weights once more and write them.

        Raises:
            SpecError: for several tensors in one .npy.
            UnsupportedError: for the terms of a module that is calibrated.
            FiberloomError: when the system refuses.
        """
        from fiberloom.codesign.weights.compression import compress_layers
        from fiberloom.codesign.weights.represented_models import (
            represented_module,
            represented_state,
            represented_tensors,
            terms_by_name,
        )

        weights = assessment.weights
        if weights.module is not None and assessment.batches is not None:
            if self.terms is not None:
                raise UnsupportedError("terms of a module with calibration data", hint="save the sum with -o")
            module, _ = represented_module(weights, named.scheme, None, assessment.batches)
            dense, others = represented_state(module, weights), dict[str, NDArray[Any]]()
        else:
            layers = list(compress_layers(weights.layers, named.scheme, inputs=assessment.inputs, keep_terms=True))
            dense = represented_tensors(weights, layers)
            others = _others(self.model, dense, weights.module)
            if self.terms is not None:
                _write(self.terms, terms_by_name(weights, layers))
        if self.output is not None:
            if self.output.suffix == ".npy":
                dense, others = {layer.name: dense[layer.name] for layer in weights.layers}, {}
            _write(self.output, {**others, **dense})


def _file_of(model: str) -> Path | None:
    """The file that `model` names, with or without a tensor's name behind it."""
    for text in (model, model.rpartition(":")[0]):
        if text and Path(text).is_file():
            return Path(text)
    return None


def _others(model: str, represented: Mapping[str, NDArray[Any]], module: Any) -> dict[str, NDArray[Any]]:
    """The other tensors of a module or of a file of tensors, as they are; of one tensor of a file, none."""
    if module is not None:
        from fiberloom.workload.profile.weights import as_numpy

        return {name: as_numpy(value) for name, value in module.state_dict().items() if name not in represented}
    if not model.endswith((".npz", ".safetensors")) or not Path(model).is_file():
        return {}
    from fiberloom.workload.profile.weights import read_weights

    return {w.name: w.values for w in read_weights(Path(model)) if w.name not in represented}


def _write(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """All of it or nothing: written beside its place, and renamed into it."""
    from fiberloom.workload.profile.array_archive import write_arrays

    if path.suffix == ".npy" and len(tensors) > 1:
        raise SpecError(f"{len(tensors)} tensors for {path}", hint="save them as .npz or .safetensors")
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            if path.suffix == ".npy":
                np.save(file, next(iter(tensors.values())))
            elif path.suffix == ".npz":
                write_arrays(file, tensors)
            else:
                file.write(_safetensors().save(dict(tensors)))
        part.replace(path)
    except OSError as error:
        raise FiberloomError(
            f"can't write {path}: {error.strerror or error}", hint="give a file in a folder of yours"
        ) from None
    finally:
        part.unlink(missing_ok=True)


def _safetensors() -> Any:
    try:
        from safetensors import numpy
    except ImportError:
        raise MissingExtraError("safetensors", "data", "writing .safetensors") from None
    return numpy

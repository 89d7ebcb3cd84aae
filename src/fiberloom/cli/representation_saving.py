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
from fiberloom.errors import FiberloomError, MissingExtraError, SpecError

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
            FiberloomError: when the system refuses.
        """
        from fiberloom.codesign.compression import compress_layers

        weights = assessment.weights
        views = {layer.name: layer.view for layer in weights.layers}
        dense: dict[str, NDArray[Any]] = {}
        terms: dict[str, NDArray[Any]] = {}
        for layer in compress_layers(weights.layers, named.scheme, inputs=assessment.inputs, keep_terms=True):
            assert layer.terms is not None
            total = layer.terms[0].copy()
            for term in layer.terms[1:]:
                total += term
            dense[layer.name] = np.ascontiguousarray(views[layer.name].tensor(total))
            if self.terms is not None:
                for number, term in enumerate(layer.terms, start=1):
                    terms[f"{layer.name}.term{number}"] = np.ascontiguousarray(views[layer.name].tensor(term))
        if self.output is not None:
            others = _others(self.model, dense) if self.output.suffix != ".npy" else {}
            _write(self.output, {**others, **dense})
        if self.terms is not None:
            _write(self.terms, terms)


def _file_of(model: str) -> Path | None:
    """The file that `model` names, with or without a tensor's name behind it."""
    for text in (model, model.rpartition(":")[0]):
        if text and Path(text).is_file():
            return Path(text)
    return None


def _others(model: str, represented: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The other tensors of a file of tensors, as they are; of one tensor of a file, none."""
    if not model.endswith((".npz", ".safetensors")) or not Path(model).is_file():
        return {}
    from fiberloom.workload.profile.weights import read_weights

    return {w.name: w.values for w in read_weights(Path(model)) if w.name not in represented}


def _write(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """All of it or nothing: written beside its place, and renamed into it."""
    if path.suffix == ".npy" and len(tensors) > 1:
        raise SpecError(f"{len(tensors)} tensors for {path}", hint="save them as .npz or .safetensors")
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            if path.suffix == ".npy":
                np.save(file, next(iter(tensors.values())))
            elif path.suffix == ".npz":
                np.savez(file, **tensors)  # type: ignore[arg-type]
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

"""Files that commands write: refused before a long search, not after it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fiberloom.errors import FiberloomError

if TYPE_CHECKING:
    from fiberloom.input.specification import Specification
    from fiberloom.mapping.nest import Mapping
    from fiberloom.workload.einsum import Tensor


def refuse_unwritable(path: Path | None) -> None:
    """Raise unless `path` can be written, as far as its folder tells.

    Raises:
        FiberloomError: naming the path and what stands in the way.
    """
    if path is None:
        return
    if path.is_dir():
        raise _cannot(path, "it is a folder", "give the name of a file")
    folder = path.parent
    if not folder.is_dir():
        raise _cannot(path, f"there is no folder {folder}", "give a file in a folder that exists")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise _cannot(path, "permission denied", "give a file in a folder of yours")


def make_folder(path: Path) -> None:
    """Make the folder `path` unless it is there.

    Raises:
        FiberloomError: when it can't be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise _cannot(path, "it is a file", "give the name of a folder") from None
    except OSError as error:
        raise _cannot(path, error.strerror or "", "give a folder that can be made") from None
    if not os.access(path, os.W_OK):
        raise _cannot(path, "permission denied", "give a folder of yours")


def save(path: Path, text: str) -> None:
    """Write `text` to `path`.

    Raises:
        FiberloomError: when the system refuses.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _cannot(path, error.strerror or "", "give a file in a folder that exists") from None


def save_specification(path: Path, specification: Specification, mapping: Mapping) -> None:
    """Write workload, architecture and mapping as YAML that ``evaluate`` takes; tensor files are named from `path`'s folder.

    Raises:
        FiberloomError: when the system refuses.
    """
    from fiberloom.input.native_dump import dump
    from fiberloom.mapping.constraints import Constraints

    workload, base = specification.workload, specification.base_directory
    if workload is not None and base is not None:
        tensors = tuple(_seen_from(tensor, base, path.resolve().parent) for tensor in workload.tensors)
        workload = workload.model_copy(update={"tensors": tensors})
    save(path, dump(replace(specification, workload=workload, mapping=mapping, constraints=Constraints())))


def save_for_timeloop(path: Path, specification: Specification, mapping: Mapping) -> None:
    """Write the mapping as Timeloop's ``mapping`` section.

    Raises:
        FiberloomError: when the system refuses.
    """
    from fiberloom.input.timeloop_dump import mapping_yaml

    assert specification.workload is not None and specification.architecture is not None
    save(path, mapping_yaml(specification.workload, specification.architecture, mapping))


def _seen_from(tensor: Tensor, base: Path, folder: Path) -> Tensor:
    """The tensor with the file of its density, if it has one in `base`, named from another folder."""
    density = tensor.density
    if not isinstance(density, dict) or not isinstance(density.get("file"), str):
        return tensor
    file = Path(density["file"]).expanduser()
    moved = str(file) if file.is_absolute() else os.path.relpath(base / file, folder)
    return tensor.model_copy(update={"density": {**density, "file": moved}})


def _cannot(path: Path, why: str, hint: str) -> FiberloomError:
    return FiberloomError(f"can't write {path}: {why}", hint=hint)

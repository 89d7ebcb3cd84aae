"""Importers: every one can be the first thing that a program imports, and tells how far it is."""

import subprocess
import sys

import pytest

from fiberloom.workload.importers import SOURCES, read_network


@pytest.mark.parametrize(
    "module",
    [*(f"importers.{name}" for name in sorted(set(SOURCES.values()))), "profile", "profile.calibration", "zoo"],
)
def test_any_importer_can_be_imported_first(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import fiberloom.workload.{module}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_sources_without_a_progress_of_their_own_take_a_listener() -> None:
    news: list[tuple[int, int]] = []
    assert read_network("alexnet", progress=lambda done, all_of_them: news.append((done, all_of_them))).macs > 0
    assert news == []

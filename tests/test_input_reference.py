"""Inputs of the reference tool, where they stand beside the repository: all are read, and survive a dump."""

import os
import time
from pathlib import Path

import pytest

from fiberloom.input.native_dump import dump
from fiberloom.input.specification import parse, read

REFERENCE = Path(os.environ.get("FIBERLOOM_REFERENCE", Path(__file__).parents[2] / "shared" / "reference"))
INPUTS = sorted(REFERENCE.glob("cases/*/input.yaml"))

pytestmark = pytest.mark.skipif(not INPUTS, reason="no reference cases beside the repository")


def test_all_reference_inputs_are_read_and_fit_together(record_property):
    for path in INPUTS:
        spec = read([path])
        assert spec.workload is not None
        assert spec.architecture is not None
        assert spec.mapping is not None
        spec.mapping.check(spec.workload, spec.architecture)
    record_property("reference_inputs", len(INPUTS))
    print(f"{len(INPUTS)} reference inputs read")


def test_reference_inputs_survive_a_dump():
    for path in INPUTS:
        spec = read([path])
        again = parse(dump(spec), file="dumped.yaml")
        assert again.workload == spec.workload, path
        assert again.architecture == spec.architecture, path
        assert again.mapping == spec.mapping, path
    print(f"{len(INPUTS)} reference inputs dumped and read again")


def test_a_reference_input_is_read_in_milliseconds():
    largest = max(INPUTS, key=lambda path: path.stat().st_size)
    read([largest])
    times = []
    for _ in range(5):
        began = time.perf_counter()
        read([largest])
        times.append(time.perf_counter() - began)
    assert min(times) < 0.06

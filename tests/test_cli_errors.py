"""The command line on bad input: one screen that says where and what would be right, an exit code, no traceback."""

import json
import os
import subprocess
import sys

import pytest

from fiberloom.cli.program import run
from gemm import GEMM, bent, written

SCREEN = 25
"""Lines of an error at most."""

BAD = {
    "unknown level": (bent("level: Buffer", "level: Bufer"), 2, "Bufer", "Buffer"),
    "unknown field": (bent("width_bits: 64\n      read", "widht_bits: 64\n      read"), 2, "widht_bits", "width_bits"),
    "unknown section": (bent("mapping:", "maping:"), 2, "maping", "mapping"),
    "unknown tensor": (bent("skip: [B <- A]", "skip: [B <- Q]"), 2, "Q", "A, B, Z"),
    "unknown variable": (bent("temporal: k=32 n=4", "temporal: kk=32 n=4"), 2, "kk", "k"),
    "unknown component": (bent("component: regfile", "component: regfle"), 2, "regfle", "regfile"),
    "missing shape": (bent("  shape: {m: 16, n: 16, k: 32}\n", ""), 2, "shape", "workload"),
    "missing bound": (bent(", k: 32}", "}"), 2, "k", "shape"),
    "missing compute": (bent("  compute: {name: MAC, mesh: 4x4, gating: true}\n", ""), 2, "compute", "architecture"),
    "missing mapping": (GEMM.split("mapping:")[0], 2, "mapping", "gemm.yaml"),
    "factors that do not divide": (bent("temporal: k=32 n=4", "temporal: k=32 n=3"), 4, "'n'", "16"),
    "factor of a half": (bent("temporal: k=32 n=4", "temporal: k=0.5 n=4"), 2, "k", "mapping"),
    "over-full buffer": (bent("depth: 16\n", "depth: 2\n"), 4, "Registers", "2"),
    "fan-out too small": (bent("{x: m=4, y: n=4}", "{x: n=4 m=4}"), 4, "Buffer", "4"),
    "negative size": (bent("{m: 16,", "{m: -16,"), 2, "-16", "shape.m"),
    "negative depth": (bent("depth: 16\n", "depth: -16\n"), 2, "greater than or equal to 0", "depth"),
    "density above 1": (bent("A: 0.25", "A: 1.5"), 2, "1.5", "density.A"),
    "density below 0": (bent("A: 0.25", "A: -0.1"), 2, "-0.1", "density.A"),
    "density of nothing": (bent("A: 0.25", "A: .nan"), 2, "nan", "density.A"),
    "pattern the wrong way round": (bent("A: 0.25", 'A: "4:2"'), 2, "4:2", "A"),
    "density from a missing file": (bent("A: 0.25", "A: {distribution: actual, file: no.npy}"), 2, "no.npy", "A"),
    "format with too few ranks": (bent("{A: UOP-UOP-CP}", "{A: CP}"), 4, "'A'", "ranks"),
    "format upside down": (bent("{A: UOP-UOP-CP}", "{A: CP-UOP}"), 2, "UOP", "formats"),
    "unknown format": (bent("{A: UOP-UOP-CP}", "{A: UOP-UXP}"), 2, "UXP", "formats"),
    "meshes that do not divide": (
        bent("component: regfile\n      mesh: 4x4", "component: regfile\n      mesh: 3x4"),
        2,
        "3",
        "MAC",
    ),
    "cyclic alias": ("workload: &w\n  shape: *w\n", 2, "w", "alias"),
    "truncated": (GEMM[: GEMM.index("UOP-CP}")], 2, "gemm.yaml", "YAML"),
    "code": (bent("16 * 1024", "__import__('os').system('id')"), 2, "__import__", "depth"),
    "a power without end": (bent("16 * 1024", "9**9**9**9"), 2, "9**9", "depth"),
    "beyond the counters": (bent("{m: 16,", "{m: 10**18,"), 2, "2^62", "einsum"),
    "a list": ("- 1\n- 2\n", 2, "mapping", "gemm.yaml"),
    "a word": ("fiberloom", 2, "mapping", "gemm.yaml"),
    "empty": ("", 2, "empty", "gemm.yaml"),
    "too many lines": ("".join(f"k{i}: {i}\n" for i in range(10**6)), 2, "lines", "gemm.yaml"),
    "too deep": ("[" * 100_000, 2, "deep", "gemm.yaml"),
}


@pytest.fixture
def failing(capsys, monkeypatch):
    """Run a command that fails; returns its exit code and what it wrote on stderr."""

    def fail(*arguments):
        monkeypatch.setenv("COLUMNS", "120")
        code = run(list(arguments))
        out, err = capsys.readouterr()
        assert code != 0
        assert out == ""
        assert len(err.splitlines()) < SCREEN
        assert "Traceback" not in err
        return code, err

    return fail


@pytest.mark.parametrize("fault", BAD)
def test_bad_specifications_are_explained(fault, tmp_path, failing, monkeypatch):
    text, expected_code, *passages = BAD[fault]
    monkeypatch.chdir(tmp_path)
    written(tmp_path, text)
    code, err = failing("evaluate", "gemm.yaml")
    assert code == expected_code, err
    for passage in (*passages, "gemm.yaml"):
        assert passage in err, err


def test_binary_and_other_encodings_are_explained(tmp_path, failing):
    for content in (bytes(range(256)) * 400, "workload: ü".encode("utf-16"), b"\x00"):
        (tmp_path / "binary.yaml").write_bytes(content)
        code, err = failing("evaluate", str(tmp_path / "binary.yaml"))
        assert code == 2
        assert "binary.yaml" in err


def test_what_is_no_file_is_explained(tmp_path, failing):
    assert "no such file" in failing("evaluate", str(tmp_path / "nowhere.yaml"))[1]
    assert "folder" in failing("evaluate", str(tmp_path))[1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_explained(tmp_path, failing):
    path = written(tmp_path)
    os.chmod(path, 0)
    assert "gemm.yaml" in failing("evaluate", path)[1]


def test_wrong_options_name_the_right_ones(tmp_path, failing):
    path = written(tmp_path)
    assert "evaluate" in failing("evaluat", path)[1]
    assert "--rules" in failing("evaluate", path, "--rule", "artifact")[1]
    assert "timeloop-4" in failing("evaluate", path, "--rules", "timelop-4")[1]
    assert failing("evaluate")[0] == 2
    assert failing("simulate", path, "--samples", "0")[0] == 2
    assert "did you mean 'eyeriss'" in failing("designs", "show", "eyeris")[1]
    assert "did you mean 'eyeriss'" in failing("evaluate", path, "--arch", "eyeris")[1]


def test_errors_are_json_on_stderr_when_json_is_asked_for(tmp_path, failing):
    path = written(tmp_path, bent("A: 0.25", "A: 1.5"))
    code, err = failing("evaluate", path, "--json")
    error = json.loads(err)["error"]
    assert (error["exit_code"], error["type"], error["line"], error["field"]) == (
        code,
        "SpecError",
        6,
        "workload.density.A",
    )
    assert error["file"] == path
    code, err = failing("evaluate", path, "--jsn", "--json")
    assert json.loads(err)["error"]["type"] == "usage"


def test_simulation_of_a_large_problem_is_refused(tmp_path, failing):
    large = GEMM.replace("{m: 16,", "{m: 16 * 4096,").replace(
        "temporal: m=2\n  - level: B", "temporal: m=8192\n  - level: B"
    )
    assert "simulate a smaller shape" in failing("simulate", written(tmp_path, large))[1]


def test_output_that_cannot_be_written_is_explained(tmp_path, failing):
    code, err = failing("import", written(tmp_path), "-o", str(tmp_path / "no" / "where.yaml"))
    assert code == 1
    assert "where.yaml" in err


def test_reference_directory_without_cases_is_explained(tmp_path, failing):
    assert "no cases" in failing("validate", "--reference", str(tmp_path))[1]
    assert "no such directory" in failing("validate", "--reference", str(tmp_path / "nowhere"))[1]


def test_a_fault_of_fiberloom_asks_for_a_report():
    command = (
        "import sys; from fiberloom.cli.program import app, run; "
        "app.command('divide')(lambda: 1 / 0); sys.exit(run(sys.argv[1:]))"
    )
    done = subprocess.run([sys.executable, "-c", command, "divide"], capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert "please report" in done.stderr
    assert "Traceback" not in done.stderr
    done = subprocess.run(
        [sys.executable, "-c", command, "divide", "--debug"], capture_output=True, text=True, check=False
    )
    assert "ZeroDivisionError" in done.stderr
    assert "Traceback" in done.stderr

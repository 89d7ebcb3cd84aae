"""A small sparse matrix product that the tests of the command line evaluate, and break."""

from pathlib import Path

GEMM = """\
fiberloom: 1
workload:
  name: gemm
  einsum: Z[m,n] = A[m,k] * B[k,n]
  shape: {m: 16, n: 16, k: 32}
  density: {A: 0.25, B: 0.5}
architecture:
  name: small-sparse
  levels:
    - name: DRAM
      component: dram
      width_bits: 64
      formats: {A: UOP-UOP-UOP-CP}
    - name: Buffer
      depth: 16 * 1024
      width_bits: 64
      read_bandwidth: 16
      formats: {A: UOP-UOP-CP}
      skip: [B <- A]
    - name: Registers
      component: regfile
      mesh: 4x4
      depth: 16
      gate: [B <- A]
  compute: {name: MAC, mesh: 4x4, gating: true}
mapping:
  - level: DRAM
    temporal: m=2
  - level: Buffer
    temporal: k=32 n=4
    spatial: {x: m=4, y: n=4}
  - level: Registers
    temporal: m=2
"""


def written(folder: Path, text: str = GEMM, name: str = "gemm.yaml") -> str:
    """Path of a file with `text` in `folder`."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def bent(old: str, new: str) -> str:
    """`GEMM` with one passage replaced; the passage must be there once."""
    assert GEMM.count(old) == 1, (old, GEMM.count(old))
    return GEMM.replace(old, new)

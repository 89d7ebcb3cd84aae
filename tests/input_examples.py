"""Two small specifications that the input tests read, bend and break."""

NATIVE = """\
fiberloom: 1
variables: {rows: 4}
workload:
  name: gemm
  einsum: Z[m,n] = A[m,k] * B[k,n]
  shape: {m: 16, n: 8, k: 4 * rows}
  word_bits: {A: 8}
  density: {A: "2:4", B: 0.3, Z: {distribution: uniform, density: 0.9}}
architecture:
  name: small
  technology: 45nm
  cycle_seconds: 1e-9
  levels:
    - name: DRAM
      component: dram
      word_bits: 16
      width_bits: 64
      metadata_word_bits: 8
      formats:
        A: CSR
        B: [UOP, {format: CP, metadata_word_bits: 4}]
      can_accumulate: false
    - name: Buffer
      mesh: 2x2
      depth: 64 * 1024
      read_bandwidth: 4
      formats:
        A: {ranks: UOP-CP, inner_to_outer: true}
      skip: ["A <-> B", "Z <- A, B"]
      gate: ["B <- A | B <- Z"]
      energy_pj: {read: 1.5, write: 2}
      attributes: {n_banks: 2}
  compute: {name: MAC, mesh: 4x4, gating: true}
mapping:
  - level: DRAM
    temporal: m=2 n=8
    spatial: {x: m=2, y: k=2}
    keep: [A, B, Z]
  - level: Buffer
    temporal: {k: 4, m: 2, n: 1}
    spatial: m=2 k=2
    spatial_x: [m]
    peer_links: {A: true}
  # the rest
"""

TIMELOOP = """\
architecture:
  version: 0.3
  subtree:
  - name: system
    attributes: {technology: 45nm}
    local:
    - name: DRAM
      class: DRAM
      attributes: {width: 64, datawidth: 16, read_bandwidth: 8}
    subtree:
    - name: PE[0..3]
      local:
      - name: Buffer
        class: storage
        subclass: SRAM
        attributes: {depth: 64, width: 32, datawidth: 16, meshX: 2, n_banks: 2, metadata_storage_width: 12,
          metadata_storage_depth: 8}
      - name: MAC[0..1]
        class: intmac
        attributes: {datawidth: 16, meshX: 4}
problem:
  shape:
    name: conv
    dimensions: [P, R, C]
    coefficients:
    - {name: stride, default: 1}
    data-spaces:
    - name: I
      projection: [[[C]], [[P, stride], [R]]]
    - name: W
      projection: [[[C]], [[R]]]
    - name: O
      projection: [[[P]]]
      read-write: true
  instance: {P: 8, R: 3, C: 4, stride: 2, W: 99, densities: {I: 0.5, W: {distribution: hypergeometric, density: 0.25}}}
mapping:
- {target: DRAM, type: temporal, factors: P=2 R=1, permutation: PRC}
- {target: DRAM, type: spatial, factors: P=4, permutation: RPC, split: 1, no_link_transfer: [W]}
- {target: Buffer, type: temporal, factors: R=0 C=2, permutation: CR}
- {target: Buffer, type: spatial, factors: C=2}
- {target: Buffer, type: bypass, keep: [I], bypass: [W]}
- {target: Buffer, type: datatype, keep: [O]}
sparse_optimizations:
  targets:
  - name: DRAM
    representation-format:
      data-spaces:
      - name: I
        rank-application-order: inner-to-outer
        ranks:
        - {format: uop, payload-word-bits: 0}
        - {format: CP, flattened-rankIDs: [[P, R]], flattened_rankIDs: [[C]]}
  - name: Buffer
    action-optimization:
    - {type: skipping, target: I, condition-on: [W]}
    - type: gating
      options:
      - {target: O, condition-on: [I, W]}
      - {target: O, condition-on: [W]}
    representation-format:
      data-spaces:
      - {name: W, ranks: [{format: B, metadata-word-bits: 5}]}
  - name: MAC
    compute-optimization: [{type: gating}]
ERT:
  version: 0.3
  tables:
  - name: system.DRAM
    actions:
    - {name: read, arguments: null, energy: 200}
  - name: system.PE[0..3].Buffer
    actions:
    - {name: read, arguments: {data_delta: 0}, energy: 1.0}
    - {name: read, arguments: {data_delta: 1}, energy: 2.5}
ART:
  version: 0.3
  tables:
  - {name: 'system.PE[0..3].MAC[0..1]', area: 300}
"""


def bent(text: str, old: str, new: str) -> str:
    """`text` with one passage replaced; the passage must be there once."""
    assert text.count(old) == 1, (old, text.count(old))
    return text.replace(old, new)


def line_of(text: str, passage: str) -> int:
    """1-based line where `passage` starts."""
    return text[: text.index(passage)].count("\n") + 1

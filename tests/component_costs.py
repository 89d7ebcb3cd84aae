"""Components that the tests of their costs share, and what they cost."""

from fiberloom.architecture.components import NODES_NM, Estimate, estimate
from fiberloom.architecture.levels import Component, ComponentClass, Compute, StorageLevel

NODES = [f"{nm}nm" for nm in NODES_NM]
FORMATS = ["int1", "int4", "int8", "int16", "int32", "fp4-e2m1", "fp6-e3m2", "fp8-e4m3", "bf16", "fp16", "fp32", "fp64"]
KIB = 8192


def cost(component: Component, technology: str = "45nm", cycle_seconds: float = 1e-9) -> Estimate:
    return estimate(component, technology=technology, cycle_seconds=cycle_seconds)


def sram(bits: int, width: int = 64, **fields: object) -> StorageLevel:
    return StorageLevel.model_validate(
        {"name": "buffer", "word_bits": 8, "width_bits": width, "depth": bits // width} | fields
    )


def regfile(depth: int, width: int = 16, **fields: object) -> StorageLevel:
    return sram(depth * width, width, component="regfile", **fields)


def dram(kind: str | None = None, width: int = 64) -> StorageLevel:
    attributes = {} if kind is None else {"dram": kind}
    return StorageLevel(name="memory", component=ComponentClass.DRAM, width_bits=width, attributes=attributes)


def mac(**attributes: object) -> Compute:
    return Compute(name="mac", attributes=attributes)

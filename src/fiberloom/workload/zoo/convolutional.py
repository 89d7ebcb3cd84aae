"""Convolutional networks on images of 224×224, from the tables that define them."""

from __future__ import annotations

from typing import Final

from fiberloom.errors import SpecError, nearest
from fiberloom.workload.network import Network
from fiberloom.workload.zoo.building import Builder

CLASSES: Final = 1000
"""Of ImageNet."""


def alexnet(*, batch: int = 1, image: int = 224, number_format: str = "fp32") -> Network:
    """AlexNet on one tower (Krizhevsky, arXiv:1404.5997, §5 and its footnote), the version that torchvision trains."""
    b = Builder("alexnet", number_format)
    x = b.input("image", batch, 3, image, image)
    # outputs, kernel, stride, padding, and whether a maximum over 3×3 with stride two follows
    layers = (
        (64, 11, 4, 2, True),
        (192, 5, 1, 2, True),
        (384, 3, 1, 1, False),
        (256, 3, 1, 1, False),
        (256, 3, 1, 1, True),
    )
    for i, (outputs, kernel, stride, padding, pooled) in enumerate(layers, 1):
        x = b.convolution(f"conv{i}", x, outputs, kernel=kernel, stride=stride, padding=padding, bias=True)
        x = b.elementwise(f"relu{i}", "relu", x)
        if pooled:
            x = b.pool(f"pool{i}", x, "max", kernel=3, stride=2)
    return _classified(b, x, "alexnet", image)


def vgg16(*, batch: int = 1, image: int = 224, number_format: str = "fp32") -> Network:
    """VGG-16, configuration D (Simonyan and Zisserman, ICLR'15, table 1)."""
    b = Builder("vgg16", number_format)
    x = b.input("image", batch, 3, image, image)
    for stage, convolutions in enumerate((2, 2, 3, 3, 3), 1):
        for i in range(1, convolutions + 1):
            x = b.convolution(f"conv{stage}_{i}", x, min(512, 32 << stage), kernel=3, padding=1, bias=True)
            x = b.elementwise(f"relu{stage}_{i}", "relu", x)
        x = b.pool(f"pool{stage}", x, "max", kernel=2, stride=2)
    return _classified(b, x, "vgg16", image)


def _classified(b: Builder, x: str, name: str, image: int) -> Network:
    """The three fully connected layers that AlexNet and VGG end in."""
    if image != 224:
        raise SpecError(
            f"{name} takes images of 224×224, since its fully connected layers have one size", hint="leave out image"
        )
    batch, channels, rows, columns = b.shape(x)
    x = b.reshape("flatten", x, batch, channels * rows * columns)
    for i in (6, 7):
        x = b.linear(f"fc{i}", x, 4096)
        x = b.elementwise(f"relu{i}", "relu", x)
    return b.network(b.linear("fc8", x, CLASSES), source=f"zoo: {name}")


def resnet18(*, batch: int = 1, image: int = 224, number_format: str = "fp32") -> Network:
    """ResNet-18 (He et al., CVPR'16, table 1), with projections where a shortcut changes its shape."""
    return _resnet("resnet18", (2, 2, 2, 2), 1, "3x3", batch, image, number_format)


def resnet50(
    *, batch: int = 1, image: int = 224, number_format: str = "fp32", stride_in: str = "3x3"
) -> Network:  # fmt: skip
    """ResNet-50 (He et al., CVPR'16, table 1).

    Args:
        stride_in: which convolution of a down-sampling block has stride two: ``1x1`` as in the paper, ``3x3`` as in the
            versions that are trained since (called v1.5).
    """
    return _resnet("resnet50", (3, 4, 6, 3), 4, stride_in, batch, image, number_format)


def _resnet(
    name: str, blocks: tuple[int, ...], expansion: int, stride_in: str, batch: int, image: int, number_format: str
) -> Network:
    if stride_in not in ("1x1", "3x3"):
        raise SpecError(f"there is no place of the stride '{stride_in}'", hint=nearest(stride_in, ("1x1", "3x3")))
    b = Builder(name, number_format)
    x = b.input("image", batch, 3, image, image)
    x = _normalised(b, "conv1", x, 64, kernel=7, stride=2)
    x = b.pool("pool1", x, "max", kernel=3, stride=2, padding=1)
    for stage, count in enumerate(blocks, 2):
        width = 16 << stage
        for block in range(1, count + 1):
            here, stride, shortcut = f"conv{stage}_{block}", 2 if block == 1 and stage > 2 else 1, x
            if expansion == 1:
                y = _normalised(b, f"{here}.1", x, width, kernel=3, stride=stride)
            else:
                first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
                y = _normalised(b, f"{here}.reduce", x, width, stride=first)
                y = _normalised(b, f"{here}.3x3", y, width, kernel=3, stride=second)
            last, kernel = (f"{here}.2", 3) if expansion == 1 else (f"{here}.expand", 1)
            y = _normalised(b, last, y, expansion * width, kernel=kernel, function=None)
            if b.shape(x) != b.shape(y):
                shortcut = _normalised(b, f"{here}.project", x, expansion * width, stride=stride, function=None)
            x = b.elementwise(f"{here}.relu", "relu", b.elementwise(f"{here}.add", "add", y, shortcut))
    return b.network(b.linear("fc", b.global_average("pool5", x), CLASSES), source=f"zoo: {name}")


def mobilenet_v2(*, batch: int = 1, image: int = 224, number_format: str = "fp32") -> Network:
    """MobileNetV2 of width 1 (Sandler et al., CVPR'18, tables 1 and 2)."""
    b = Builder("mobilenet_v2", number_format)
    x = b.input("image", batch, 3, image, image)
    x = _normalised(b, "conv1", x, 32, kernel=3, stride=2, function="relu6")
    # expansion, output channels, repeats, stride of the first: the rows of table 2
    rows = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    blocks = ((t, c, s if i == 0 else 1) for t, c, n, s in rows for i in range(n))
    for i, (expansion, outputs, stride) in enumerate(blocks, 1):
        here, y, hidden = f"block{i}", x, expansion * b.shape(x)[1]
        if expansion > 1:
            y = _normalised(b, f"{here}.expand", y, hidden, function="relu6")
        y = _normalised(b, f"{here}.depthwise", y, hidden, kernel=3, stride=stride, groups=hidden, function="relu6")
        y = _normalised(b, f"{here}.project", y, outputs, function=None)
        x = b.elementwise(f"{here}.add", "add", x, y) if b.shape(x) == b.shape(y) else y
    x = _normalised(b, "last", x, 1280, function="relu6")
    return b.network(b.linear("fc", b.global_average("pool", x), CLASSES), source="zoo: mobilenet_v2")


def _normalised(
    b: Builder,
    name: str,
    x: str,
    outputs: int,
    *,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    function: str | None = "relu",
) -> str:
    """A convolution that keeps the extents, or halves them, with batch normalisation and a function."""
    x = b.convolution(name, x, outputs, kernel=kernel, stride=stride, padding=kernel // 2, groups=groups)
    x = b.batch_norm(f"{name}.norm", x)
    return b.elementwise(f"{name}.{function}", function, x) if function else x

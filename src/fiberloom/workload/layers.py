"""Layers as Einsums, in the shapes that every importer and the zoo use, and lists of layers of published networks.

A convolution is ``O[n,m,p,q] = W[m,c,r,s] * I[n,c,p+r,q+s]`` (a stride multiplies p and q, a dilation r and s); a grouped one has g
in all three tensors, a depth-wise one has no m and keeps c in all tensors, one over a sequence has no q and s. A fully connected
layer is ``O[n,m] = W[m,c] * I[n,c]``, with images and tokens together in n. Batches of one have no n. Outputs are as large as with
the padding that the papers use; the padding itself counts as input, as in other cost models. Attention: see `attention_scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fiberloom.errors import SpecError, UnsupportedError, nearest
from fiberloom.workload.einsum import Einsum

_EXTENTS: Final = {1: ("p",), 2: ("p", "q"), 3: ("z", "p", "q")}
"""Positions of a window along a sequence, an image (rows, columns), a volume (slices, rows, columns)."""
_KERNELS: Final = {1: ("r",), 2: ("r", "s"), 3: ("t", "r", "s")}
"""Positions inside a window, as many as there are extents."""


@dataclass(frozen=True)
class Layer:
    """One Einsum of a network.

    Attributes:
        einsum: its name is the network's and the place of first use.
        count: how often the network computes an Einsum of this shape.
    """

    einsum: Einsum
    count: int = 1

    @property
    def name(self) -> str:
        """Name of the Einsum."""
        return self.einsum.name


def convolution(
    name: str,
    *,
    outputs: int,
    inputs: int,
    rows: int,
    columns: int | None = None,
    kernel: int | Sequence[int] = 1,
    stride: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    batch: int = 1,
    densities: Mapping[str, Any] | None = None,
) -> Einsum:
    """A convolution of images; `outputs` and `inputs` are channels, `rows` and `columns` (as many, by default) the output's."""
    extents = (rows, rows if columns is None else columns)
    return convolution_nd(
        name, outputs=outputs, inputs=inputs, extents=extents, kernel=kernel, stride=stride, dilation=dilation,
        groups=groups, batch=batch, densities=densities,
    )  # fmt: skip


def convolution_nd(
    name: str,
    *,
    outputs: int,
    inputs: int,
    extents: Sequence[int],
    kernel: int | Sequence[int] = 1,
    stride: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    batch: int = 1,
    densities: Mapping[str, Any] | None = None,
) -> Einsum:
    """A convolution over a sequence, an image or a volume: ``O[n,g,m,p,q] = W[g,m,c,r,s] * I[n,g,c,st*p+dil*r,st*q+dil*s]``.

    Args:
        outputs, inputs: channels, of all groups together. As many of both as groups: a depth-wise convolution.
        extents: of the output, one to three.
        kernel, stride, dilation: one number for all extents, or one for each.

    Raises:
        SpecError: if channels do not divide into groups, or there are not as many numbers as extents.
        UnsupportedError: for more than three extents.
    """
    lead, shape = _batch(batch)
    filters, channels, own = _channels(name, outputs, inputs, groups)
    positions, offsets, sizes = _places(name, extents, kernel)
    window = _windows(name, positions, offsets, stride, dilation)
    equation = (
        f"O[{lead}{''.join(v + ',' for v in filters)}{','.join(positions)}] = "
        f"W[{','.join((*filters, *(c for c in channels if c not in filters), *offsets))}] * "
        f"I[{lead}{''.join(c + ',' for c in channels)}{window}]"
    )
    return Einsum.parse(equation, shape | own | sizes, name=name, densities=densities)


def _windows(
    name: str,
    positions: Sequence[str],
    offsets: Sequence[str],
    stride: int | Sequence[int],
    dilation: int | Sequence[int],
) -> str:
    """Index expressions of the side of a convolution that windows slide over: ``2*p+r,2*q+s``."""
    strides, dilations = (_each(name, what, len(positions)) for what in (stride, dilation))
    return ",".join(
        f"{_times(a)}{x}+{_times(b)}{r}" for a, x, b, r in zip(strides, positions, dilations, offsets, strict=True)
    )


def transposed_convolution(
    name: str,
    *,
    outputs: int,
    inputs: int,
    extents: Sequence[int],
    kernel: int | Sequence[int] = 1,
    stride: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    batch: int = 1,
    densities: Mapping[str, Any] | None = None,
) -> Einsum:
    """A transposed convolution, ``O[n,m,st*p+dil*r,…] = W[c,m,r,s] * I[n,c,p,q]``: every input element adds a window to the output.

    Args:
        extents: of the *input*. The output's edge that padding cuts off counts as output.

    Raises:
        SpecError, UnsupportedError: as `convolution_nd`.
    """
    lead, shape = _batch(batch)
    filters, channels, own = _channels(name, outputs, inputs, groups)
    positions, offsets, sizes = _places(name, extents, kernel)
    window = _windows(name, positions, offsets, stride, dilation)
    equation = (
        f"O[{lead}{''.join(v + ',' for v in filters)}{window}] = "
        f"W[{','.join((*channels, *(m for m in filters if m not in channels), *offsets))}] * "
        f"I[{lead}{''.join(c + ',' for c in channels)}{','.join(positions)}]"
    )
    return Einsum.parse(equation, shape | own | sizes, name=name, densities=densities)


def depthwise(
    name: str,
    *,
    channels: int,
    rows: int,
    columns: int | None = None,
    kernel: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    batch: int = 1,
    densities: Mapping[str, Any] | None = None,
) -> Einsum:
    """A depth-wise convolution: every channel has a filter of its own."""
    return convolution(
        name, outputs=channels, inputs=channels, groups=channels, rows=rows, columns=columns, kernel=kernel,
        stride=stride, batch=batch, densities=densities,
    )  # fmt: skip


def fully_connected(
    name: str, *, outputs: int, inputs: int, groups: int = 1, batch: int = 1, densities: Mapping[str, Any] | None = None
) -> Einsum:
    """A matrix product of weights and a batch (or the tokens) of activations.

    Groups (heads, for one) have weights of their own each: ``O[n,g,m] = W[g,m,c] * I[n,g,c]``; `outputs` and `inputs` are those of
    all groups.

    Raises:
        SpecError: if they do not divide into groups.
    """
    lead, shape = _batch(batch)
    filters, channels, own = _channels(name, outputs, inputs, groups)
    weights = (*filters, *(c for c in channels if c not in filters))
    equation = f"O[{lead}{','.join(filters)}] = W[{','.join(weights)}] * I[{lead}{','.join(channels)}]"
    return Einsum.parse(equation, shape | own, name=name, densities=densities)


def batched_product(
    name: str, *, rows: int, columns: int, depth: int, batch: int = 1, densities: Mapping[str, Any] | None = None
) -> Einsum:
    """Matrix products of two activations, ``O[b,i,j] = A[b,i,k] * B[b,k,j]``; a batch of one has no b."""
    lead = "b," if batch > 1 else ""
    shape = ({"b": batch} if batch > 1 else {}) | {"i": rows, "j": columns, "k": depth}
    return Einsum.parse(f"O[{lead}i,j] = A[{lead}i,k] * B[{lead}k,j]", shape, name=name, densities=densities)


def attention_scores(
    name: str,
    *,
    heads: int,
    queries: int,
    keys: int,
    depth: int,
    groups: int | None = None,
    window: int | None = None,
    densities: Mapping[str, Any] | None = None,
) -> Einsum:
    """Queries times keys, ``S[h,i,j] = Q[h,i,d] * K[h,j,d]``; masked scores count, as published figures have it.

    Args:
        heads: query heads, times sequences of the batch.
        queries, keys: tokens of one sequence.
        depth: width of a head.
        groups: key-value heads, times sequences: ``S[g,h,i,j] = Q[g,h,i,d] * K[g,j,d]``, with `heads` / `groups` in h
            (grouped queries: Ainslie et al., EMNLP'23, §2.2). None: as many as heads.
        window: keys that a query sees when fewer than there are (sliding window: Beltagy et al., arXiv:2004.05150, §3.1):
            ``K[h,i+j,d]`` with j inside the window.

    Raises:
        SpecError: if heads do not divide into groups.
    """
    return _attention(
        name, ("S[{q}i,j]", "Q[{q}i,d]", "K[{k}{j},d]"), heads, queries, keys, depth, groups, window, densities
    )


def attention_values(
    name: str,
    *,
    heads: int,
    queries: int,
    keys: int,
    depth: int,
    groups: int | None = None,
    window: int | None = None,
    densities: Mapping[str, Any] | None = None,
) -> Einsum:
    """Scores times values, ``Z[h,i,d] = S[h,i,j] * V[h,j,d]``, with groups and windows as `attention_scores` has them."""
    return _attention(
        name, ("Z[{q}i,d]", "S[{q}i,j]", "V[{k}{j},d]"), heads, queries, keys, depth, groups, window, densities
    )


def _attention(
    name: str,
    tensors: tuple[str, str, str],
    heads: int,
    queries: int,
    keys: int,
    depth: int,
    groups: int | None,
    window: int | None,
    densities: Mapping[str, Any] | None,
) -> Einsum:
    groups = heads if groups is None else groups
    if groups < 1 or heads % groups:
        raise SpecError(f"{name}: {heads} heads of queries do not divide into {groups} heads of keys and values")
    own, shape = "", {}
    shared = ""
    if groups == heads:
        own, shared, shape = "h,", "h,", {"h": heads}
    elif groups == 1:
        own, shape = "h,", {"h": heads}
    else:
        own, shared, shape = "g,h,", "g,", {"g": groups, "h": heads // groups}
    slides = window is not None and window < keys and queries > 1
    shape |= {"i": queries, "j": min(keys, window or keys), "d": depth}
    left, first, second = (t.format(q=own, k=shared, j="i+j" if slides else "j") for t in tensors)
    return Einsum.parse(f"{left} = {first} * {second}", shape, name=name, densities=densities)


def resnet50(batch: int = 1, stride_in: str = "3x3") -> tuple[Layer, ...]:
    """ResNet-50 on 224×224 images (He et al., CVPR'16, table 1), distinct shapes in order of first use.

    Args:
        batch: images.
        stride_in: which convolution of a down-sampling block has stride two: ``1x1`` as in the paper, ``3x3`` as in
            the versions that are trained since (called v1.5).
    """
    _known(stride_in, ("1x1", "3x3"), "place of the stride")
    made = [convolution("resnet50-conv1", outputs=64, inputs=3, rows=112, kernel=7, stride=2, batch=batch)]
    channels, rows = 64, 56
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for block in range(blocks):
            name = f"resnet50-conv{stage + 2}_{block + 1}"
            stride = 2 if block == 0 and stage > 0 else 1
            outside, rows = rows, rows // stride
            first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
            middle = outside // first
            made.append(
                convolution(f"{name}-1x1", outputs=width, inputs=channels, rows=middle, stride=first, batch=batch)
            )
            made.append(
                convolution(f"{name}-3x3", outputs=width, inputs=width, rows=rows, kernel=3, stride=second, batch=batch)
            )
            made.append(convolution(f"{name}-expand", outputs=4 * width, inputs=width, rows=rows, batch=batch))
            if block == 0:
                made.append(
                    convolution(
                        f"{name}-project", outputs=4 * width, inputs=channels, rows=rows, stride=stride, batch=batch
                    )
                )
            channels = 4 * width
    made.append(fully_connected("resnet50-fc", outputs=1000, inputs=channels, batch=batch))
    return distinct(made)  # fmt: skip


def vgg16(batch: int = 1) -> tuple[Layer, ...]:
    """VGG-16, configuration D, on 224×224 images (Simonyan and Zisserman, ICLR'15, table 1), distinct shapes in order."""
    made, channels, rows = [], 3, 224
    for stage, convolutions in enumerate((2, 2, 3, 3, 3)):
        width = min(512, 64 << stage)
        for i in range(convolutions):
            name = f"vgg16-conv{stage + 1}_{i + 1}"
            made.append(convolution(name, outputs=width, inputs=channels, rows=rows, kernel=3, batch=batch))
            channels = width
        rows //= 2
    for i, outputs in enumerate((4096, 4096, 1000)):
        inputs = channels * rows * rows if i == 0 else 4096
        made.append(fully_connected(f"vgg16-fc{i + 6}", outputs=outputs, inputs=inputs, batch=batch))
    return distinct(made)


def mobilenet_v2(batch: int = 1) -> tuple[Layer, ...]:
    """MobileNetV2, width 1, on 224×224 images (Sandler et al., CVPR'18, table 2), distinct shapes in order."""
    # expansion, output channels, repeats, stride of the first: the rows of table 2
    bottlenecks = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    made = [convolution("mobilenetv2-conv1", outputs=32, inputs=3, rows=112, kernel=3, stride=2, batch=batch)]
    channels, rows, block = 32, 112, 0
    for expansion, outputs, repeats, first in bottlenecks:
        for repeat in range(repeats):
            block += 1
            name, stride, hidden = f"mobilenetv2-{block}", first if repeat == 0 else 1, expansion * channels
            if expansion > 1:
                made.append(convolution(f"{name}-expand", outputs=hidden, inputs=channels, rows=rows, batch=batch))
            rows //= stride
            made.append(
                depthwise(f"{name}-depthwise", channels=hidden, rows=rows, kernel=3, stride=stride, batch=batch)
            )
            made.append(convolution(f"{name}-project", outputs=outputs, inputs=hidden, rows=rows, batch=batch))
            channels = outputs
    made.append(convolution("mobilenetv2-last", outputs=1280, inputs=channels, rows=rows, batch=batch))
    made.append(fully_connected("mobilenetv2-fc", outputs=1000, inputs=1280, batch=batch))
    return distinct(made)


def bert_base(tokens: int = 512) -> tuple[Layer, ...]:
    """BERT-base, one sequence (Devlin et al., NAACL'19, §3: 12 layers, width 768, 12 heads; feed-forward 4 times as wide).

    Projections and feed-forward products over `tokens`, and attention.
    """
    layers, width, heads = 12, 768, 12
    made = [
        *(
            fully_connected(f"bert-base-{what}", outputs=width, inputs=width, batch=tokens)
            for what in ("qkv", "qkv", "qkv")
        ),
        attention_scores("bert-base-scores", heads=heads, queries=tokens, keys=tokens, depth=width // heads),
        attention_values("bert-base-values", heads=heads, queries=tokens, keys=tokens, depth=width // heads),
        fully_connected("bert-base-output", outputs=width, inputs=width, batch=tokens),
        fully_connected("bert-base-feed-forward-1", outputs=4 * width, inputs=width, batch=tokens),
        fully_connected("bert-base-feed-forward-2", outputs=width, inputs=4 * width, batch=tokens),
    ]
    return distinct(made * layers)


def mind_mappings() -> tuple[Layer, ...]:
    """The six convolutions and two MTTKRPs of Mind Mappings (Hegde et al., ASPLOS'21: the problems of its evaluation)."""
    return (
        *(_mind_mappings_convolution(name, *sizes) for name, sizes in _MIND_MAPPINGS_CONVOLUTIONS.items()),
        *(Layer(mttkrp(name, *sizes)) for name, sizes in _MIND_MAPPINGS_MTTKRP.items()),
    )


# batch, output channels, input channels, filter size, output size
_MIND_MAPPINGS_CONVOLUTIONS: Final = {
    "ResNet_3": (16, 128, 128, 3, 28),
    "ResNet_4": (16, 256, 256, 3, 14),
    "Inception_2": (32, 192, 64, 3, 56),
    "VGG_2": (16, 128, 64, 3, 112),
    "AlexNet_2": (8, 256, 96, 5, 27),
    "AlexNet_4": (8, 384, 384, 3, 13),
}
_MIND_MAPPINGS_MTTKRP: Final = {"MTTKRP_0": (128, 1024, 4096, 2048), "MTTKRP_1": (2048, 4096, 1024, 128)}


def _mind_mappings_convolution(name: str, batch: int, outputs: int, inputs: int, kernel: int, rows: int) -> Layer:
    return Layer(convolution(name, outputs=outputs, inputs=inputs, rows=rows, kernel=kernel, batch=batch))


def mttkrp(name: str, i: int, j: int, k: int, l: int) -> Einsum:  # noqa: E741 - the paper's names
    """The matricised tensor times Khatri–Rao product, ``A[i,j] = B[i,k,l] * C[k,j] * D[l,j]``."""
    return Einsum.parse("A[i,j] = B[i,k,l] * C[k,j] * D[l,j]", {"i": i, "j": j, "k": k, "l": l}, name=name)


NETWORKS: Final[Mapping[str, Callable[..., tuple[Layer, ...]]]] = {
    "resnet50": resnet50,
    "vgg16": vgg16,
    "mobilenet_v2": mobilenet_v2,
    "bert_base": bert_base,
    "mind_mappings": mind_mappings,
}
"""Lists of layers by name."""


def network(name: str, **options: Any) -> tuple[Layer, ...]:
    """Distinct layers of a network of `NETWORKS`, in order of first use.

    Raises:
        SpecError: if there is none of that name.
    """
    _known(name, NETWORKS, "network")
    return NETWORKS[name](**options)


def distinct(einsums: Iterable[Einsum]) -> tuple[Layer, ...]:
    """One layer per different computation (names apart), in order of first use, with its count."""
    first: dict[tuple[Any, ...], Einsum] = {}
    counts: dict[tuple[Any, ...], int] = {}
    for einsum in einsums:
        tensors = tuple((t.ranks, t.is_output, t.word_bits, str(t.density)) for t in einsum.tensors)
        key = (tuple(einsum.shape.items()), tensors)
        first.setdefault(key, einsum)
        counts[key] = counts.get(key, 0) + 1
    return tuple(Layer(einsum, counts[key]) for key, einsum in first.items())


def _batch(batch: int) -> tuple[str, dict[str, int]]:
    return ("n,", {"n": batch}) if batch > 1 else ("", {})


def _channels(name: str, outputs: int, inputs: int, groups: int) -> tuple[str, str, dict[str, int]]:
    """Variables of the output's channels, of the input's, and their bounds."""
    if groups < 1 or outputs % groups or inputs % groups:
        raise SpecError(f"{name}: {outputs} output and {inputs} input channels do not divide into {groups} groups")
    if groups == 1:
        return "m", "c", {"m": outputs, "c": inputs}
    if groups == inputs == outputs:
        return "c", "c", {"c": groups}
    return "gm", "gc", {"g": groups, "m": outputs // groups, "c": inputs // groups}


def _places(
    name: str, extents: Sequence[int], kernel: int | Sequence[int]
) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, int]]:
    """Variables of positions and of places in a window, and their bounds."""
    if len(extents) not in _EXTENTS:
        raise UnsupportedError(f"{name}: convolutions have one to three extents, not {len(extents)}")
    positions, offsets = _EXTENTS[len(extents)], _KERNELS[len(extents)]
    sizes = dict(zip(positions, extents, strict=True)) | dict(
        zip(offsets, _each(name, kernel, len(extents)), strict=True)
    )
    return positions, offsets, sizes


def _each(name: str, given: int | Sequence[int], extents: int) -> tuple[int, ...]:
    numbers = (given,) * extents if isinstance(given, int) else tuple(given)
    if len(numbers) != extents:
        raise SpecError(f"{name}: {list(numbers)} for {extents} extents")
    return numbers


def _times(coefficient: int) -> str:
    return "" if coefficient == 1 else f"{coefficient}*"


def _known(name: str, known: Iterable[str], what: str) -> None:
    if name not in known:
        raise SpecError(f"there is no {what} '{name}'", hint=nearest(name, list(known)))

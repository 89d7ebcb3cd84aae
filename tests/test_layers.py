"""Layer lists agree with what the papers publish about their networks."""

import pytest

from fiberloom.errors import SpecError, UnsupportedError
from fiberloom.workload.layers import (
    Layer,
    attention_scores,
    attention_values,
    batched_product,
    bert_base,
    convolution,
    convolution_nd,
    depthwise,
    distinct,
    fully_connected,
    mind_mappings,
    mobilenet_v2,
    network,
    resnet50,
    transposed_convolution,
    vgg16,
)
from fiberloom.workload.network import signature


def macs(layers: tuple[Layer, ...]) -> int:
    return sum(layer.count * layer.einsum.macs for layer in layers)


def weights(layers: tuple[Layer, ...]) -> int:
    total = 0
    for layer in layers:
        size = 1
        for extent in layer.einsum.tensor_shape("W"):
            size *= extent
        total += layer.count * size
    return total


def uses(layers: tuple[Layer, ...]) -> int:
    return sum(layer.count for layer in layers)


def test_vgg16_has_sixteen_layers_and_138_million_weights() -> None:
    # Simonyan and Zisserman, ICLR'15, table 2: 138 million (with biases, 13 416 of them)
    assert uses(vgg16()) == 16
    assert weights(vgg16()) == 138_357_544 - 13_416


def test_resnet50_has_fifty_layers_and_four_projections() -> None:
    assert uses(resnet50()) == 50 + 4
    assert len(resnet50()) < uses(resnet50())


def test_resnet50_computes_3_8_billion_macs_with_the_stride_of_the_paper() -> None:
    # He et al., CVPR'16, table 1
    assert macs(resnet50(stride_in="1x1")) == pytest.approx(3.8e9, rel=0.02)
    assert macs(resnet50()) == pytest.approx(4.1e9, rel=0.01)


def test_where_the_stride_is_changes_no_weights() -> None:
    assert weights(resnet50()) == weights(resnet50(stride_in="1x1"))
    # 25.56 million parameters less the 53 120 of batch normalisation and 1000 biases
    assert weights(resnet50()) == 25_557_032 - 53_120 - 1000


def test_mobilenet_v2_computes_300_million_macs_with_3_4_million_weights() -> None:
    # Sandler et al., CVPR'18, table 4: 300M multiply-adds, 3.4M parameters
    assert macs(mobilenet_v2()) == pytest.approx(300e6, rel=0.01)
    assert weights(mobilenet_v2()) == pytest.approx(3.4e6, rel=0.03)


def test_bert_base_has_85_million_weights_outside_its_embedding() -> None:
    products = tuple(layer for layer in bert_base() if layer.einsum.inputs[0].name == "W")
    # 12 layers of 4 projections and two feed-forward products: 12 · 12 · 768²
    assert weights(products) == 12 * 12 * 768**2
    assert uses(bert_base()) == 12 * 8
    assert len(bert_base()) == 5


def test_attention_over_twice_the_tokens_costs_four_times_as_much() -> None:
    def attention(tokens: int) -> int:
        return sum(layer.einsum.macs for layer in bert_base(tokens) if "h" in layer.einsum.shape)

    assert attention(512) == 4 * attention(256)


def test_a_strided_convolution_reads_the_whole_image() -> None:
    first = resnet50()[0].einsum
    assert first.tensor_shape("O") == (64, 112, 112)
    # 224 columns and three of padding on either side, of which the last step leaves one
    assert first.tensor_shape("I") == (3, 229, 229)


def test_a_batch_multiplies_macs_and_no_weights() -> None:
    for make in (resnet50, vgg16, mobilenet_v2):
        assert macs(make(batch=4)) == 4 * macs(make())
        assert weights(make(batch=4)) == weights(make())


def test_the_problems_of_mind_mappings_are_six_convolutions_and_two_mttkrps() -> None:
    layers = {layer.name: layer.einsum for layer in mind_mappings()}
    assert len(layers) == 8
    assert layers["AlexNet_2"].tensor_shape("I") == (8, 96, 31, 31)
    assert [len(e.inputs) for e in layers.values()].count(3) == 2
    assert layers["MTTKRP_1"].shape == {"i": 2048, "j": 4096, "k": 1024, "l": 128}


def test_distinct_layers_keep_their_order_and_count() -> None:
    a, b = (layer.einsum for layer in vgg16()[:2])
    counted = distinct([a, b, a.model_copy(update={"name": "again"})])
    assert [(layer.name, layer.count) for layer in counted] == [(a.name, 2), (b.name, 1)]


def test_an_unknown_network_is_answered_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="resnet50"):
        network("resnet5")


def test_a_grouped_convolution_has_its_group_in_all_tensors() -> None:
    einsum = convolution("g", outputs=64, inputs=32, groups=8, rows=10, kernel=(3, 5), stride=2, dilation=(1, 2))
    assert str(einsum) == "O[g, m, p, q] = W[g, m, c, r, s] * I[g, c, 2*p+r, 2*q+2*s]"
    assert einsum.shape == {"g": 8, "m": 8, "c": 4, "p": 10, "q": 10, "r": 3, "s": 5}


def test_as_many_groups_as_channels_are_a_depthwise_convolution() -> None:
    grouped = convolution("g", outputs=32, inputs=32, groups=32, rows=10, kernel=3)
    assert signature(grouped) == signature(depthwise("d", channels=32, rows=10, kernel=3))
    assert "m" not in grouped.shape


def test_convolutions_of_sequences_and_volumes_have_one_and_three_extents() -> None:
    sequence = convolution_nd("s", outputs=8, inputs=4, extents=(100,), kernel=4)
    assert str(sequence) == "O[m, p] = W[m, c, r] * I[c, p+r]"
    volume = convolution_nd("v", outputs=8, inputs=4, extents=(4, 5, 6), kernel=(2, 3, 3), batch=2)
    assert volume.tensor_shape("I") == (2, 4, 5, 7, 8)
    with pytest.raises(UnsupportedError, match="one to three"):
        convolution_nd("x", outputs=1, inputs=1, extents=(2, 2, 2, 2))


def test_a_transposed_convolution_spreads_every_input_over_a_window_of_the_output() -> None:
    einsum = transposed_convolution("t", outputs=4, inputs=8, extents=(5, 5), kernel=3, stride=2)
    assert str(einsum) == "O[m, 2*p+r, 2*q+s] = W[c, m, r, s] * I[c, p, q]"
    assert einsum.tensor_shape("O") == (4, 11, 11)
    assert einsum.macs == 4 * 8 * 5 * 5 * 9


def test_channels_that_do_not_divide_into_groups_are_refused() -> None:
    with pytest.raises(SpecError, match="groups"):
        convolution("g", outputs=64, inputs=30, groups=8, rows=10)
    with pytest.raises(SpecError, match="extents"):
        convolution("g", outputs=64, inputs=32, rows=10, kernel=(3, 3, 3))


def test_grouped_queries_share_keys_and_values() -> None:
    scores = attention_scores("s", heads=32, queries=4, keys=16, depth=64, groups=8)
    assert str(scores) == "S[g, h, i, j] = Q[g, h, i, d] * K[g, j, d]"
    values = attention_values("z", heads=32, queries=4, keys=16, depth=64, groups=1)
    assert str(values) == "Z[h, i, d] = S[h, i, j] * V[j, d]"
    with pytest.raises(SpecError, match="divide"):
        attention_scores("s", heads=32, queries=4, keys=16, depth=64, groups=5)


def test_a_sliding_window_reads_neighbouring_keys() -> None:
    scores = attention_scores("s", heads=2, queries=100, keys=100, depth=8, window=10)
    assert str(scores) == "S[h, i, j] = Q[h, i, d] * K[h, i+j, d]"
    assert scores.macs == 2 * 100 * 10 * 8
    wide = attention_scores("s", heads=2, queries=100, keys=100, depth=8, window=100)
    assert signature(wide) == signature(attention_scores("s", heads=2, queries=100, keys=100, depth=8))


def test_a_batched_product_of_one_has_no_batch() -> None:
    assert str(batched_product("b", rows=2, columns=3, depth=4, batch=5)) == "O[b, i, j] = A[b, i, k] * B[b, k, j]"
    assert "b" not in batched_product("b", rows=2, columns=3, depth=4).shape


def test_heads_with_weights_of_their_own_are_a_grouped_product() -> None:
    einsum = fully_connected("f", outputs=4 * 16, inputs=4 * 8, groups=4, batch=3)
    assert str(einsum) == "O[n, g, m] = W[g, m, c] * I[n, g, c]"
    assert einsum.macs == 3 * 4 * 16 * 8

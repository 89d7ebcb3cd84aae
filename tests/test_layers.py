"""Layer lists agree with what the papers publish about their networks."""

import pytest

from fiberloom.errors import SpecError
from fiberloom.workload.layers import Layer, bert_base, distinct, mind_mappings, mobilenet_v2, network, resnet50, vgg16


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

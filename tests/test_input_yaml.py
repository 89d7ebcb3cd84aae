"""YAML with line numbers, its limits, and arithmetic in scalars."""

import math
import time

import pytest

from fiberloom.errors import FiberloomError, SpecError
from fiberloom.input.expressions import evaluate
from fiberloom.input.yaml_source import parse_yaml, read_yaml


def data(text):
    (source,) = parse_yaml(text, "file.yaml")
    return source.data


def refusal(text):
    with pytest.raises(SpecError) as caught:
        parse_yaml(text, "file.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-12", -12),
        ("010", 10),
        ("0x1F", "0x1F"),
        ("1e-9", 1e-9),
        ("1.5E+3", 1500.0),
        (".5", 0.5),
        ("true", True),
        ("False", False),
        ("N", "N"),
        ("no", "no"),
        ("on", "on"),
        ("Y", "Y"),
        ("2:4", "2:4"),
        ("2024-01-01", "2024-01-01"),
        ("~", None),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("!!float 12", 12.0),
        ("1_000", "1_000"),
    ],
)
def test_scalars_follow_yaml_1_2(text, value):
    assert data(f"a: {text}") == {"a": value}
    assert type(data(f"a: {text}")["a"]) is type(value)


def test_infinity_and_nan_are_floats():
    values = data("a: .inf\nb: -.inf\nc: .nan\nd: 1e999")
    assert values["a"] == math.inf == values["d"]
    assert values["b"] == -math.inf
    assert math.isnan(values["c"])


def test_every_field_has_its_line():
    (source,) = parse_yaml("a:\n  - b: 1\n\n    c: {d: 2,\n      e: 3}\n", "file.yaml")
    assert source.where(("a", 0, "c", "e")).line == 5
    assert str(source.where(("a", 0, "c", "d"))) == "file.yaml:4: a[0].c.d"
    assert str(source.where(("a", 0, "missing"))) == "file.yaml:2: a[0].missing"


def test_aliases_and_merges_give_plain_data():
    text = "base: &base {x: 1, y: 2}\nother: *base\nmore: {<<: *base, y: 3}\nlist: {<<: [*base, {z: 4}]}\n"
    assert data(text) == {
        "base": {"x": 1, "y": 2},
        "other": {"x": 1, "y": 2},
        "more": {"y": 3, "x": 1},
        "list": {"x": 1, "y": 2, "z": 4},
    }


def test_documents_that_are_empty_are_left_out():
    assert [s.data for s in parse_yaml("---\na: 1\n---\n---\nb: 2\n")] == [{"a": 1}, {"b": 2}]


def test_timeloop_tags_are_remembered():
    (source,) = parse_yaml("nodes:\n- !Component {name: a}\n- !Container\n  name: b\n")
    assert source.tags == {("nodes", 0): "!Component", ("nodes", 1): "!Container"}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a: 1\nb: 2\na: 3", ["file.yaml:3", "'a' stands twice", "lines 1 and 3"]),
        ("a: [1, 2", ["file.yaml:1", "not valid YAML"]),
        ("a: 1\nb: {c: 1,\n", ["file.yaml:", "not valid YAML"]),
        ("a: 'open\n", ["file.yaml:", "not valid YAML"]),
        ("a: b: c", ["file.yaml:1", "mapping values"]),
        ("a:\n\t- b", ["file.yaml:2", "not valid YAML"]),
        ("a: @b", ["file.yaml:1", "not valid YAML"]),
        ("", ["file.yaml:1", "empty"]),
        ("# nothing\n", ["file.yaml:1", "empty"]),
        ("---\n...\n", ["file.yaml:1", "empty"]),
        ("a: *nowhere", ["file.yaml:1", "nowhere"]),
        ("a: &x [1, *x]", ["file.yaml:1", "stands inside"]),
        ("a: &x {b: *x}", ["file.yaml:1", "stands inside"]),
        ("a: !!python/object:os.system [1]", ["file.yaml:1", "not known", "remove the tag"]),
        ("a: !Secret 1", ["file.yaml:1", "!Secret", "remove the tag"]),
        ("a: !!binary aGk=", ["file.yaml:1", "!!binary"]),
        ("a: !!int word", ["file.yaml:1", "!!int"]),
        ("? [a, b]\n: 1", ["file.yaml:1", "field name"]),
        ("a: {<<: 3}", ["file.yaml:1", "<<"]),
        ("a: " + "9" * 5000, ["file.yaml:1", "5000 digits"]),
        ("a: \x07", ["file.yaml:1", "not valid YAML"]),
        ("a: 1\n\0", ["file.yaml:2", "not valid YAML"]),
    ],
)
def test_broken_yaml_is_refused_with_its_line(text, parts):
    message = refusal(text)
    for part in parts:
        assert part in message


def test_deep_nesting_is_refused():
    assert "nested more than 64" in refusal("[" * 100_000)
    assert "nested more than 64" in refusal("a:" + " {a:" * 70 + " 1" + "}" * 70)


def test_alias_bombs_are_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "more than 300,000 values" in refusal("\n".join(lines))


@pytest.mark.parametrize("text", ["a: 1\n" * 1_000_000, "- 1\n" * 390_000, "[" + "1," * 2_000_000 + "]"])
def test_huge_files_are_refused_quickly(text):
    began = time.process_time()
    assert "more than" in refusal(text) or "stands twice" in refusal(text[:100])
    assert time.process_time() - began < 5


def test_files_that_are_not_text_are_refused(tmp_path):
    path = tmp_path / "binary.yaml"
    for content, part in (
        (b"a: 1\n\xff\xfe\x00b", "UTF-8"),
        (b"\x80\x81", "UTF-8"),
        (bytes(range(32)), "not valid YAML"),
        (b"", "empty"),
        (b"#" * (16 * 2**20 + 1), "larger than 16 MiB"),
    ):
        path.write_bytes(content)
        with pytest.raises(SpecError, match=part) as caught:
            read_yaml(path)
        assert str(path) in str(caught.value)
    with pytest.raises(SpecError, match="no such file"):
        read_yaml(tmp_path / "absent.yaml")
    with pytest.raises(SpecError, match="folder"):
        read_yaml(tmp_path)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_yaml(path)[0].data == {"a": 1}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("64 * 1024", 65536),
        ("0x1F", 31),
        ("2 ** 10 - 1", 1023),
        ("7 // 2 + 7 % 2", 4),
        ("-(3 - 5)", 2),
        ("max(32, width)", 64),
        ("min(4, 3, 5)", 3),
        ("ceil(log2(100))", 7),
        ("sqrt(16) / 8", 0.5),
        ("round(2.6)", 3),
        ("width if width >= 64 else 1", 64),
        ("1 < 2 <= 2", True),
        ("1e-9", 1e-9),
    ],
)
def test_arithmetic(text, value):
    assert evaluate(text, {"width": 64}) == value


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "().__class__",
        "open('x')",
        "[1][0]",
        "{1: 2}",
        "lambda: 1",
        "'a' * 10",
        "wdith",
        "9 ** 9 ** 9",
        "2 ** 100000",
        "10.0 ** 1000",
        "1 / 0",
        "sqrt(0 - 1)",
        "(0 - 8) ** 0.5",
        "log2(0)",
        "max(1)",
        "max(*width)",
        "ceil(1, 2)",
        "1 +",
        "",
        "1" + " + 1" * 200,
        "-" * 80 + "1",
        "1e400",
        "1j",
        "x := 3",
        "f'{width}'",
        "1 if",
        "1 << 2",
        "\x00",
        "9" * 299 + "9" * 2,
        "1e200 * 1e200",
    ],
)
def test_what_is_not_arithmetic_is_refused(text):
    with pytest.raises(FiberloomError) as caught:
        evaluate(text, {"width": 64})
    assert caught.value.hint

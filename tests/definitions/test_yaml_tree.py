"""Hostile and odd YAML: clear problems with a line, never a crash, never a guess."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from cadenza.definitions.yaml_tree import MAX_BYTES, MAX_NODES, Mapping, Scalar, Tree, read_text, read_yaml


def value_of(text: str) -> object:
    documents, problems = read_yaml(f"a: {text}", "f.yaml")
    assert not problems
    assert isinstance(documents[0], Mapping)
    node = documents[0].entries[0].node
    assert isinstance(node, Scalar)
    return node.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("on", "on"), ("Yes", "Yes"), ("true", True), ("FALSE", False), ("'true'", "true"),
        ("12", 12), ("'12'", "12"), ("-3", -3), ("1.50", 1.5), ("1e3", 1000.0), ("0o17", "0o17"), ("0x1f", "0x1f"),
        ("1_000", "1_000"), ("2026-01-31", "2026-01-31"), ("12:30:00", "12:30:00"), ("~", None), ("", None),
        ("''", ""), (".inf", ".inf"), (".nan", ".nan"), ("30 days", "30 days"), ("20%", "20%"),
        ("9" * 400, "9" * 400),
    ],
)  # fmt: skip
def test_scalars_are_read_as_yaml_1_2_and_no_more(text: str, value: object) -> None:
    assert value_of(text) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\na: 2\n", "f.yaml:2: 'a' is written twice (first on line 1). Keep one of them."),
        ("a: {b: 1, b: 2}\n", "f.yaml:1: 'b' is written twice (first on line 1). Keep one of them."),
        ("a:\n\tb: 1\n", "f.yaml:2: The file is not valid YAML: while scanning for the next token found character "
         "'\\t' that cannot start any token. Indent with spaces, not tabs."),
        ("a: {b: not consented('x', 'y')}\n", "f.yaml:1: The file is not valid YAML: while parsing a flow mapping "
         "expected ',' or '}', but got '<scalar>'. Inside { } or [ ], put an expression that contains a comma between "
         "double quotes."),
        ("a: b: c\n", "f.yaml:1: The file is not valid YAML: mapping values are not allowed here. Put a text that "
         "contains ': ' between quotes, or check the indentation."),
        ("a: *b\n", "f.yaml:1: The file is not valid YAML: nothing is called '&b' before '*b'. Put a text that starts with a "
         "special character (* & ! % @ `) between quotes."),
        ("a: !!python/object/apply:os.system ['x']\n",
         "f.yaml:1: The tag 'tag:yaml.org,2002:python/object/apply:os.system' is not read. Leave it out."),
        ("a: !thing x\n", "f.yaml:1: The tag '!thing' is not read. Leave it out."),
        ("x: &x {a: 1}\ny:\n  <<: *x\n", "f.yaml:3: Merge keys ('<<') are not read. Write the values out."),
        ("? [a, b]\n: c\n", "f.yaml:1: A key must be plain text. Put a text that begins with a brace between quotes."),
        ("a: 'x\n", "f.yaml:2: The file is not valid YAML: while scanning a quoted scalar found unexpected end of "
         "stream."),
        ("[" * 5000, "f.yaml:1: The file is nested too deeply. At most 60 levels are read."),
        ("{a: " * 5000, "f.yaml:1: The file is nested too deeply. At most 60 levels are read."),
        ("a:\n" + "".join(" " * n + "- \n" for n in range(1, 80)), None),
    ],
)  # fmt: skip
def test_each_oddity_is_one_clear_problem(text: str, problem: str | None) -> None:
    _, problems = read_yaml(text, "f.yaml")
    if problem is not None:
        assert [str(p) for p in problems] == [problem]


def test_the_documents_before_a_syntax_error_are_kept() -> None:
    documents, problems = read_yaml("a: 1\n---\nb: 2\n---\nc: [\n", "f.yaml")
    assert len(documents) == 2
    assert len(problems) == 1
    assert problems[0].line >= 5


def test_an_alias_bomb_ends_at_the_budget() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    _, problems = read_yaml("\n".join(levels), "f.yaml")
    assert [p.what for p in problems] == [f"The file has more than {MAX_NODES:,} values (aliases counted)."]


def test_an_alias_that_holds_itself_is_refused() -> None:
    _, problems = read_yaml("a: &a [*a]\n", "f.yaml")
    assert len(problems) == 1


def test_aliases_are_followed() -> None:
    documents, problems = read_yaml("a: &x 30 days\nb: *x\n", "f.yaml")
    assert not problems
    assert isinstance(documents[0], Mapping)
    assert [entry.node.text for entry in documents[0].entries if isinstance(entry.node, Scalar)] == ["30 days"] * 2


def test_an_anchor_may_be_set_again() -> None:
    documents, problems = read_yaml("a: &x 1\nb: &x 2\nc: *x\n", "f.yaml")
    assert not problems
    assert isinstance(documents[0], Mapping)
    assert isinstance(last := documents[0].entries[2].node, Scalar)
    assert last.value == 2


def test_bytes_that_are_not_text_are_refused_with_their_line() -> None:
    text, problems = read_text(b"a: 1\nb: \xff\n", "f.yaml")
    assert text is None
    assert str(problems[0]) == "f.yaml:2: The file is not UTF-8 text (byte 0xff). Save it as UTF-8."


def test_a_byte_order_mark_is_no_problem() -> None:
    text, problems = read_text("a: 1".encode("utf-8-sig"), "f.yaml")
    assert (text, problems) == ("a: 1", [])


def test_a_huge_file_is_refused() -> None:
    text, problems = read_text(b"#" * (MAX_BYTES + 1), "f.yaml")
    assert text is None
    assert problems[0].remedy == "Split it."


def test_control_characters_are_a_problem_not_a_crash() -> None:
    _, problems = read_yaml("a: \x00\x01\n", "f.yaml")
    assert len(problems) == 1


YAMLISH = st.text(alphabet=st.sampled_from(list("ab:-[]{}'\"&*!|>%@`#?,\n\t \\<0.~\x00é\u2028")), max_size=80)


@settings(max_examples=200, deadline=None)
@given(st.one_of(YAMLISH, st.text(max_size=60)))
def test_no_text_makes_the_reader_crash(text: str) -> None:
    documents, problems = read_yaml(text, "f.yaml")
    for problem in problems:
        assert problem.line >= 1
        assert problem.what
    for document in documents:
        assert lines_rise(document) >= 1


def lines_rise(tree: Tree) -> int:
    """Every line is within the file (1 or more)."""
    if isinstance(tree, Scalar):
        return tree.line
    below = [e.node for e in tree.entries] if isinstance(tree, Mapping) else list(tree.items)
    return min([tree.line, *(lines_rise(node) for node in below)])

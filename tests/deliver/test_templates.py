"""Templates: which variables they use, what they print, and that no template can stall, read or escape."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given, settings, strategies as st

from cadenza.definitions.kinds import Template
from cadenza.definitions.liquid import environment, parse, template_variables
from cadenza.errors import CadenzaError, ExpressionError, TerminalError
from cadenza.ports.channel import Rendered
from cadenza.runtime.plaintext import plain_text
from cadenza.runtime.render import render, variables

CONTEXT = {
    "first_name": "<Anna>", "total": 1234.5, "amount": "12.50", "gone": None, "n": 3, "tags": ["a", "b"],
    "entry": {"order_id": "o-1", "at": "2026-06-01T23:30:00.000000Z", "products": [{"sku": "x", "price": 2.5}], "coupon": None},
    "person": {"id": 7}, "message": {"id": "overwritten"},
}  # fmt: skip


def a_template(body: str, subject: str = "", format: str = "text") -> Template:
    return Template(name="welcome", channel="email", purpose="news", subject=subject, body=body, format=format)  # type: ignore[arg-type]


def out(body: str, subject: str = "", format: str = "text", context: object = CONTEXT) -> Rendered:
    text = msgspec.json.encode(context).decode()
    return render(a_template(body, subject, format), text, "m-1", address="a@x.example", planned_at=1_000_000)


# --- variables -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("plain", []),
        ("{{ first_name }} {{ entry.order_id | upcase }}", [("first_name",), ("entry", "order_id")]),
        ("{{ entry.products[0].sku }}", [("entry", "products")]),
        ("{{ a[b.c].d }}", [("a",), ("b", "c")]),
        ("{{ a['first name'] }}", [("a", "first name")]),
        ("{% for p in entry.products %}{{ p.sku }}{{ forloop.index }}{% endfor %}", [("entry", "products")]),
        ("{% assign x = total | times: n %}{{ x }}", [("total",), ("n",)]),
        ("{{ x }}{% assign x = 1 %}", [("x",)]),
        ("{% capture c %}{{ a }}{% endcapture %}{{ c }}", [("a",)]),
        ("{% if a and b > c %}{% elsif d contains e %}{% endif %}", [("a",), ("b",), ("c",), ("d",), ("e",)]),
        ("{{ a | default: b }}", [("a",), ("b",)]),
        ("{% raw %}{{ a }}{% endraw %}{% comment %}{{ b }}{% endcomment %}", []),
        ("{% liquid assign x = a\n echo x %}", [("a",)]),
        ("{% case a %}{% when b %}{{ c }}{% endcase %}", [("a",), ("b",), ("c",)]),
    ],
)
def test_variables(text: str, paths: list[tuple[str, ...]]) -> None:
    assert template_variables(text) == frozenset(paths)


def test_variables_of_a_template_are_those_of_subject_and_body() -> None:
    found = variables(a_template("{{ entry.order_id }}", "{{ first_name }}"))
    assert found.names == {"first_name", "entry"}
    assert found.paths == {("first_name",), ("entry", "order_id")}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a\nb {{ x | upcas }}", "unknown filter 'upcas' (line 2). Did you mean 'upcase'?"),
        ("{{ x ", "never closed (line 1)"),
        ("{% if x %}", "expected tag endif"),
        ("\n\n{% fi x %}", "line 3"),
        ("{% include 'secret' %}", "include"),
        ("{% render 'secret' %}", "render"),
        ("{{ x | safe }}", "unknown filter 'safe'"),
        ("{{ now }}", "must come out the same"),
        ("{{ today | date: '%Y' }}", "must come out the same"),
        ("{{ (1..9) | join }}", "may only be looped over"),
        ("{% raw %}{{", "no '{% endraw %}'"),
        ("x" * 300_000, "at most"),
        ("{{ a" + "[a" * 7000 + "]" * 7000 + " }}", "does not parse"),
    ],
)
def test_what_is_no_template_is_refused_at_validation(text: str, says: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        template_variables(text)
    assert says in str(caught.value)


# --- what is printed -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "printed"),
    [
        ("Dear {{ first_name }}", "Dear <Anna>"),
        ("{{ total | money }} {{ amount | money: 'GBP' }} {{ n | money: 'EUR', locale: 'de_DE' }}", "1,234.50 £12.50 3,00\xa0€"),
        ("{{ entry.at | date }}", "1 June 2026"),
        ("{{ entry.at | date: '%d.%m.%Y %H:%M', zone: 'Europe/Berlin' }}", "02.06.2026 01:30"),
        ("{{ 0 | date: '%Y' }} {{ '2026-01-02' | date: '%-d/%-m' }}", "1970 2/1"),
        ("{% if total > 1000 %}big{% endif %} {{ total | plus: 0.1 }}", "big 1234.6"),
        ("{% for p in entry.products %}{{ p.sku }}={{ p.price }};{% endfor %}", "x=2.5;"),
        ("{{ gone | default: 'friend' }} {{ entry.coupon | default: 'none' }} {{ never | default: first_name }}", "friend none <Anna>"),
        ("{% if gone %}a{% else %}b{% endif %}{% if gone == nil %}c{% endif %}{% if entry.none > 3 %}d{% endif %}", "bc"),
        ("{% unless gone %}e{% endunless %}{% if gone == blank or gone == empty %}{% endif %}", "e"),
        ("{{ message.id }} {{ message.planned_at }} {{ person.id }}", "m-1 1970-01-01T00:00:01.000000Z 7"),
        ("{% for i in (1..n) %}{{ i }}{% endfor %}{% for i in (1..n) reversed %}{{ i }}{% endfor %}", "123321"),
    ],
)  # fmt: skip
def test_printed(body: str, printed: str) -> None:
    assert out(body).text == printed


def test_html_is_escaped_and_has_a_text_part() -> None:
    made = out("<p>Dear {{ first_name }}</p><a href='https://x.example/{{ n }}'>go</a>", "Hi {{ first_name }}", "html")
    assert made.html == "<p>Dear &lt;Anna&gt;</p><a href='https://x.example/3'>go</a>"
    assert made.text == "Dear <Anna>\ngo (https://x.example/3)"
    assert made.subject == "Hi <Anna>"


@pytest.mark.parametrize(
    "body",
    ["{{ gone }}", "{{ never }}", "{{ entry.coupon }}", "{{ entry.a.b }}", "{{ never | upcase }}", "{{ never | plus: 1 }}",
     "{{ 1 | plus: never }}", "{{ never | money }}", "{{ never | size }}", "{% for x in never %}{% endfor %}"],
)  # fmt: skip
def test_nobody_is_greeted_with_nothing(body: str) -> None:
    with pytest.raises(TerminalError) as caught:
        out(body)
    assert "template 'welcome'" in str(caught.value) and "default:" in str(caught.value)


@pytest.mark.parametrize(
    "evil", ["a\r\nBcc: e@x.example", "a\nb", "a\rb", "a\x00b", "a\u2028b", "a\x85b", "a\x0bb\x0cc"]
)
def test_a_subject_is_one_line_whatever_it_holds(evil: str) -> None:
    made = out("x", "Hi {{ first_name }}!", context={"first_name": evil})
    assert made.subject.isprintable() and len(made.subject.splitlines()) == 1


@pytest.mark.parametrize("address", ["a@x.example\r\nBcc: b@x.example", "a\n", "\x00", " a@x.example", "a\u2029b"])
def test_an_address_is_one_line(address: str) -> None:
    with pytest.raises(TerminalError, match="line break"):
        render(a_template("x"), "{}", "m-1", address=address)


@pytest.mark.parametrize("context", ["", "[]", "{", "null", '{"a": NaN}', "[" * 100_000])
def test_a_broken_context(context: str) -> None:
    with pytest.raises(TerminalError, match="not a JSON object"):
        render(a_template("x"), context, "m-1")


# --- hostile -------------------------------------------------------------------------------------------

GROW = "{% assign x = 'aaaaaaaaaa' %}" + "{% assign x = x | append: x %}" * 15
HOSTILE = [
    "{% for i in (1..100000000000) %}x{% endfor %}",
    "{% for i in (1..100000000000) reversed %}x{% endfor %}",
    "{% for i in (1..100000000000) offset: 99999999990 %}x{% endfor %}",
    "{% for i in (1..200) %}{% for j in (1..200) %}{% for k in (1..200) %}{% endfor %}{% endfor %}{% endfor %}",
    "{%for i in(1..10000)%}{%endfor%}" * 300,
    "{%for i in(1..10000)%}" + "{%if true%}{%endif%}" * 500 + "{%endfor%}",
    "{% tablerow i in (1..10000) %}" + "{%if true%}{%endif%}" * 500 + "{% endtablerow %}",
    GROW + "{% assign x = x | append: x %}" * 10,
    GROW + "{{ x | replace: 'a', x }}",
    GROW + "{{ x | replace: '', x }}",
    GROW + "{% assign l = 'a,b,c,d' | split: ',' %}" + "{{ l | join: x }}" * 5,
    GROW + "{{ x" + " | append: x" * 200 + " }}",
    GROW + "{{ x" + " | url_encode" * 900 + " }}",
    "{% assign x = 9 %}" + "{% assign x = x | times: x %}" * 40 + "{{ x }}",
    "{% assign l = 'a,b' | split: ',' %}" + "{% assign l = l | concat: l %}" * 30,
    "{% assign l = 'abcdefghijklmnop' | split: '' %}" + "{% assign l = l | concat: l %}" * 6 + "{% assign m = l | uniq %}" * 50,
    "{% capture x %}{% for i in (1..9999) %}" + "a" * 200 + "{% endfor %}{% endcapture %}",
    "{% for i in (1..9999) %}" + "a" * 200 + "{% endfor %}",
    "{{ 'inf' | ceil }}", "{{ 'nan' | round }}", "{{ 1 | divided_by: 0 }}", "{{ 1 | modulo: 0 }}",
    "{{ 'x' | date: '%999999999d' }}", "{{ 0 | date: '%Y', zone: '../../etc/passwd' }}", "{{ 0 | date: '%Y', zone: '/etc/hostname' }}",
    "{{ 1e30 | date }}", "{{ 99999999999999999999999 | date }}", "{{ 'now' | date: '%Y' }}", "{{ '1e999999' | money }}",
    "{{ 1 | money: '../../x' }}", "{{ 1 | money: 'GBP', locale: '../../etc/passwd' }}", "{{ tags | money }}",
    "{% break %}", "{% if 1 " + "and 1 " * 2000 + "%}{% endif %}{{ gone }}",
]  # fmt: skip


@pytest.mark.parametrize("body", HOSTILE, ids=[str(n) for n in range(len(HOSTILE))])
def test_hostile_templates_are_refused(body: str) -> None:
    with pytest.raises(CadenzaError):
        out(body)


@pytest.mark.parametrize(
    "path", ["__class__", "__init__.__globals__", "keys", "items", "get", "pop", "append", "__len__"]
)
@pytest.mark.parametrize("root", ["first_name", "entry", "tags", "total", "n", "message", "forloop"])
def test_no_python_attribute_is_reached(root: str, path: str) -> None:
    with pytest.raises(CadenzaError):
        out(f"{{{{ {root}.{path} }}}}")


PIECES = [
    *"{}%|:.[]'\"-( )abfori1=,\n", "{{ ", " }}", "{% if a %}", "{% endif %}", "{% for i in a %}", "{% endfor %}", "{% raw %}",
    "{% assign x = a %}", " | upcase", "{% endraw %}", "{% liquid", " %}",
]  # fmt: skip
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=y>&lt;b&gt;%3Cscript%3E"
FILTERS = sorted(environment(True).filters)
ARGUMENTS = {"append": ": v", "prepend": ": v", "replace": ": 's', v", "replace_first": ": 's', v", "replace_last": ": 's', v",
             "remove": ": 'a'", "remove_first": ": 'a'", "remove_last": ": 'a'", "split": ": 's'", "join": ": v", "slice": ": 0, 90",
             "default": ": v", "truncate": ": 60, v", "truncatewords": ": 1, v", "concat": ": w"}  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(FILTERS), min_size=1, max_size=4), st.sampled_from(["v", "w", "'&amp;<i>'"]))
@example(["url_encode", "url_decode"], "v")
@example(["base64_encode", "base64_decode"], "v")
@example(["strip_html", "escape_once"], "v")
@example(["upcase", "newline_to_br"], "w")
def test_no_chain_of_filters_lets_a_value_escape(names: list[str], start: str) -> None:
    chain = "".join(f" | {name}{ARGUMENTS.get(name, '')}" for name in names)
    try:
        made = out(f"{{{{ {start}{chain} }}}}", format="html", context={"v": EVIL, "w": [EVIL, EVIL]})
    except CadenzaError:
        return
    html = (made.html or "").lower()
    assert "<script" not in html and "<img" not in html and "onerror=y>" not in html


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_any_text_is_a_template_or_a_clear_error(text: str) -> None:
    try:
        parse(text)
        out(text, context={"a": [1, 2], "b": "x"})
    except CadenzaError as error:
        assert str(error)


def test_plain_text_leaves_scripts_and_styles_out() -> None:
    html = "<head><style>p{}</style></head><script>x()</script><ul><li>one<li>two</ul>a<br>b&nbsp;&lt;c"
    assert plain_text(html) == "- one\n- two\na\nb <c"

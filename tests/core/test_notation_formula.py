"""Formulas read into their parts, and written back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openreml_core.errors import FormulaError
from openreml_core.notation import compose_formula, parse_formula, quote


def bars(text: str) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(term.structure, term.effects, term.group) for term in parse_formula(f"y ~ {text}").random]


def test_john_alpha():
    formula = parse_formula("yield ~ rep + (1 | gen) + (1 | rep:block)")
    assert formula.response == "yield"
    assert formula.fixed_terms == ("rep",)
    assert formula.intercept
    assert [term.text for term in formula.random] == ["(1 | gen)", "(1 | rep:block)"]
    assert formula.columns == ("yield", "rep", "gen", "block")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(1 | gen)", [("us", "1", ("gen",))]),
        ("(1 | a:b)", [("us", "1", ("a", "b"))]),
        ("(1 | a/b)", [("us", "1", ("a",)), ("us", "1", ("a", "b"))]),
        ("(1 | a/b/c)", [("us", "1", ("a",)), ("us", "1", ("a", "b")), ("us", "1", ("a", "b", "c"))]),
        ("(Days | Subject)", [("us", "1 + Days", ("Subject",))]),
        ("us(Days | Subject)", [("us", "1 + Days", ("Subject",))]),
        ("(Days || Subject)", [("diag", "1 + Days", ("Subject",))]),
        ("diag(Days | Subject)", [("diag", "1 + Days", ("Subject",))]),
        ("(0 + county | gen)", [("us", "0 + county", ("gen",))]),
        ("(county - 1 | gen)", [("us", "0 + county", ("gen",))]),
        ("(a * x | g)", [("us", "1 + a + x + a:x", ("g",))]),
        ("(1 | g) + (0 + x | g)", [("us", "1", ("g",)), ("us", "0 + x", ("g",))]),
        ("(1 | factor(plot))", [("us", "1", ("plot",))]),
        ("(x | a/b)", [("us", "1 + x", ("a",)), ("us", "1 + x", ("a", "b"))]),
        ("(a + (1 | g))", [("us", "1", ("g",))]),
        ("cs(0 + county | gen)", [("cs", "0 + county", ("gen",))]),
        ("known(1 | gen)", [("known", "1", ("gen",))]),
        ("id(1 | gen)", [("id", "1", ("gen",))]),
    ],
)
def test_bars(text, expected):
    assert bars(text) == expected


def test_structures_with_options_and_positions():
    terms = parse_formula(
        "y ~ fa(0 + county | gen, k=2) + ante(0 + t | s, 1) + matern(0 + pos(x, y1) | block, nu=1.5, aniso=TRUE)"
        " + spl(x | g) + spl2d(row, col) + kron(us(trait), ar1(time) | animal)"
    ).random
    assert [term.structure for term in terms] == ["fa", "ante", "matern", "spl", "spl2d", "kron"]
    assert terms[0].option("k") == 2
    assert terms[1].option("k") == 1
    assert terms[2].positions == ("x", "y1")
    assert dict(terms[2].options) == {"nu": 1.5, "aniso": True}
    assert terms[3].positions == ("x",) and terms[3].group == ("g",)
    assert terms[4].positions == ("row", "col") and terms[4].group == ()
    assert [(part.structure, part.effects) for part in terms[5].parts] == [("us", "0 + trait"), ("ar1", "0 + time")]
    assert terms[5].columns == ("trait", "time", "animal")


@pytest.mark.parametrize(
    ("right", "terms", "intercept"),
    [
        ("a * b", ("a", "b", "a:b"), True),
        ("a / b", ("a", "a:b"), True),
        ("(a + b + c)^2", ("a", "b", "c", "a:b", "a:c", "b:c"), True),
        ("(a + b) ** 2 - a:b", ("a", "b"), True),
        ("a * b - a", ("b", "a:b"), True),
        ("0 + a", ("a",), False),
        ("a - 1", ("a",), False),
        ("-1 + a + 1", ("a",), True),
        ("1", (), True),
        ("a %in% b", ("b", "b:a"), True),
        ("a + a:b:c + b", ("a", "b", "a:b:c"), True),
        ("a:b + b:a", ("a:b",), True),
        ("log(x) + log( x ) + I(x^2) + I(x ** 2) + {x^2}", ("log(x)", "I(x^2)"), True),
        ("poly(x, 2):a", ("poly(x, 2):a",), True),
    ],
)
def test_fixed_terms(right, terms, intercept):
    formula = parse_formula(f"y ~ {right}")
    assert formula.fixed_terms == terms
    assert formula.intercept is intercept


def test_only_random_terms_keep_the_intercept():
    formula = parse_formula("y ~ (1 | g)")
    assert formula.intercept and formula.fixed == "1" and formula.fixed_terms == ()


def test_offsets():
    formula = parse_formula("y ~ a + offset(log(n)) + (1 | g)")
    assert formula.offsets == ("log(n)",)
    assert formula.fixed_terms == ("a",)


def test_odd_names_anywhere():
    formula = parse_formula(
        "log(`plot yield (t/ha)`) ~ class * IQ.verb + größe + log(lambda) + (yield | `my group`:import) + (if || x_1)"
    )
    assert formula.response == "log(`plot yield (t/ha)`)"
    assert formula.fixed_terms == ("class", "IQ.verb", "größe", "log(lambda)", "class:IQ.verb")
    assert formula.random[0].group == ("my group", "import")
    assert formula.random[0].text == "(yield | `my group`:import)"
    assert formula.random[1].effect_terms == ("if",)


def test_an_umlaut_typed_in_two_ways_is_one_name():
    assert parse_formula("y ~ gro\u0308ße").fixed_terms == ("gr\u00f6ße",)


def test_a_column_named_like_a_constant_is_the_column():
    assert parse_formula("y ~ sin(2 * pi * x)").columns == ("y", "x")
    assert parse_formula("y ~ sin(2 * pi * x)", columns=["y", "x", "pi"]).columns == ("y", "pi", "x")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("y", "no '~'"),
        ("y ~", "nothing right"),
        ("~ a", "no response"),
        ("y ~ a ~ b", "more than one"),
        ("y ~ a +", "missing at the end"),
        ("y ~ a *", "cannot be read as a term"),
        ("y ~ (a", "not closed"),
        ("y ~ a)", "no opening partner"),
        ("y ~ a b", "backticks"),
        ("y ~ 2 * x", "I( )"),
        ("y ~ x^2", "I(x^2)"),
        ("y ~ 3", "cannot stand alone"),
        ("y ~ a | g", "in parentheses"),
        ("y ~ a * (1 | g)", "outside a random term"),
        ("y ~ - (1 | g)", "cannot be taken away"),
        ("y ~ (1 | a + b)", "one term for each grouping"),
        ("y ~ (1 |)", "names no grouping"),
        ("y ~ (| g)", "nothing left"),
        ("y ~ (0 | g)", "no effect left"),
        ("y ~ (1 | a | b)", "more than one bar"),
        ("y ~ foo(1 | g)", "no covariance structure"),
        ("y ~ fa(0 + a | g, q=2)", "no option of fa"),
        ("y ~ fa(0 + a | g, k=1.5)", "whole number"),
        ("y ~ cs(1 || g)", "double bar"),
        ("y ~ .", "name the columns"),
        ("y ~ data$x", "'$'"),
        ("y ~ 2nd", "digit"),
        ("y ~ a:", "cannot be read as a term"),
        ("y ~ a : :", "cannot be read as a term"),
        ("y ~ a * offset(x)", "offset() stands alone"),
        ("y ~ log(x, y)", "takes a number"),
        ("y ~ log(x, foo=2)", "no option 'foo'"),
        ("y ~ lag(x)", "may not call lag()"),
        ("y ~ lgo(x)", "may not call lgo()"),
        ("y ~ sqr(x)", "Did you mean sqrt()?"),
    ],
)
def test_errors_say_what_is_wrong(text, says):
    with pytest.raises(FormulaError) as error:
        parse_formula(text)
    assert says in str(error.value)


names = st.one_of(
    st.sampled_from(["yield", "IQ.verb", "größe", "class", "a", "b", "plot yield (t/ha)", "x|y", "1st", "~", "None"]),
    st.text(alphabet="aB.é_ (|+~'\"0", min_size=1, max_size=6).filter(lambda name: name.strip()),
)
factors = st.one_of(names.map(quote), names.map(lambda name: f"log({quote(name)})"))
products = st.lists(factors, min_size=1, max_size=3, unique=True).map(":".join)
bars_written = st.tuples(
    st.sampled_from(["1", "0 + {}", "{}", "1 + {}"]),
    names,
    st.sampled_from(["|", "||"]),
    st.lists(names, min_size=1, max_size=3, unique=True),
    st.sampled_from([":", "/"]),
).map(lambda t: f"({t[0].format(quote(t[1]))} {t[2]} {t[4].join(quote(name) for name in t[3])})")


@settings(max_examples=200, deadline=None)
@given(names, st.lists(products, max_size=4, unique=True), st.lists(bars_written, max_size=3), st.booleans())
def test_composing_and_parsing_are_inverse(response, terms, random, intercept):
    read = parse_formula(compose_formula(quote(response), terms, random, intercept))
    assert read.response_expression is not None and read.response_expression.names == (response,)
    assert read.intercept is intercept
    again = parse_formula(compose_formula(read.response, read.fixed_terms, read.random, read.intercept))
    assert (again.fixed_terms, again.random) == (read.fixed_terms, read.random)
    assert parse_formula(read.text) == read


sums = st.recursive(
    st.sampled_from("abcd"),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "*", ":", "/", "%in%"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(inner, inner).map(lambda t: f"({t[0]} + {t[1]})^2"),
    ),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["+", "-"]), sums), min_size=1, max_size=3))
def test_the_algebra_is_formulaics(pieces):
    from formulaic import Formula

    text = "a " + " ".join(f"{sign} {piece}" for sign, piece in pieces)
    theirs = [frozenset(str(factor.expr) for factor in term.factors) for term in Formula(text)]
    ours = [frozenset(factor.text for factor in term) for term in parse_formula(f"y ~ {text}").terms]
    assert ours == [term for term in theirs if term != {"1"}]

"""Random terms: ``(1 | gen)``, ``(Days || Subject)``, ``us(0 + county | gen)``, ``kron(us(a), ar1(t) | animal)``.

Spatial structures take positions, ``exp(0 + pos(x, y) | block)``; bare columns, ``exp(0 + time | animal)``, are positions too.
``spl(x)`` stands for the curve's bend, and brings the straight line x into the fixed part unless x is there.
``spl(x | gen)`` is what each level's curve bends beyond the common one, all with one variance; it holds no level and no slope
of gen, for which ``(x | gen)`` stands beside it. ``spl2d(row, col)`` is a surface: it brings row, col and row:col into
the fixed part, and five random parts, f(row), f(col), f(row):col, row:f(col) and f(row):f(col), with a variance each.
In ``kron(...)`` the first structure with variances of its own has them on the scale of the data; in the others the first
variance is 1, so that correlations are all that is left of ar1 or cs. Columns in it are factors, numbers too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from openreml_core.errors import FormulaError, did_you_mean
from openreml_core.notation.algebra import Terms, expand
from openreml_core.notation.structures import SPATIAL, STRUCTURES, OptionValue, read_options, spell_options
from openreml_core.notation.tokens import Token, call, inside, quote, render, split

MAX_GROUPING = 20
_NEED_NO_BAR = frozenset({"spl", "spl2d"})
_AS_FACTOR = frozenset({"factor", "as.factor"})


@dataclass(frozen=True)
class RandomTerm:
    """A random term ``structure(effects | group)``.

    Parameters
    ----------
    text : str
        The term as the notation writes it; parses back to the same.
    structure : str
        ``"us"`` for plain bars, ``"diag"`` for double bars, else the name written.
    effects : str
        What stands left of the bar, with its intercept spelled out: ``"1 + Days"``, ``"0 + county"``.
    group : tuple of str
        The columns whose combinations are the levels; empty where the term has no grouping.
    effect_terms : tuple of str
        The terms of `effects` without the intercept.
    intercept : bool
        Whether `effects` holds the intercept.
    options : tuple of (name, value)
        Such as ``(("k", 2.0),)``.
    positions : tuple of str
        The columns of ``pos(x, y)``, or of ``spl2d(row, col)``.
    parts : tuple of RandomTerm
        The factors of ``kron(...)``, each a structure over its own effects.
    """

    text: str
    structure: str
    effects: str
    group: tuple[str, ...]
    effect_terms: tuple[str, ...] = ()
    intercept: bool = True
    options: tuple[tuple[str, OptionValue], ...] = ()
    positions: tuple[str, ...] = ()
    parts: tuple[RandomTerm, ...] = ()
    terms: Terms = field(default=(), repr=False, compare=False, hash=False)

    @property
    def group_name(self) -> str:
        """The grouping factors joined: ``"rep:block"``."""
        return ":".join(self.group)

    @property
    def is_smooth(self) -> bool:
        """Whether the term is a spline, ``spl`` or ``spl2d``."""
        return self.structure in _NEED_NO_BAR

    @property
    def name(self) -> str:
        """What tables call the term: its grouping, a spline by what it is a function of: ``"spl(x)"``, ``"spl(x | gen)"``."""
        if not self.is_smooth:
            return self.group_name
        of = ", ".join(self.positions)
        return f"{self.structure}({of} | {self.group_name})" if self.group else f"{self.structure}({of})"

    def option(self, name: str, default: OptionValue | None = None) -> OptionValue | None:
        """Return the value of an option, or `default` where it is not given."""
        return dict(self.options).get(name, default)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that the term uses, in order of appearance."""
        found = [name for term in self.terms for factor in term for name in factor.names]
        found += [name for part in self.parts for name in part.columns]
        return tuple(dict.fromkeys([*found, *self.positions, *self.group]))


def is_random(piece: Sequence[Token]) -> bool:
    """Return whether a summand is a random term: it has a bar just inside its parentheses, or is a spline surface."""
    held = inside(piece)
    called = call(piece)
    if held is None and called is not None:
        if called[0] in _NEED_NO_BAR:
            return True
        held = called[1]
    return held is not None and len(split(held, "|", "||")) > 1


def parse_random(piece: Sequence[Token], columns: Collection[str] = ()) -> list[RandomTerm]:
    """Read one random term; nesting ``a/b`` gives several."""
    shown = render(piece)
    called = call(piece)
    held = inside(piece) or (called[1] if called else ())
    structure = called[0] if called else "us"
    if structure not in STRUCTURES:
        hint = did_you_mean(structure, list(STRUCTURES)).replace("The columns are", "Known are")
        raise FormulaError(f"'{structure}' in '{shown}' is no covariance structure.", hint=hint)
    pieces = split(held, "|", "||")
    if len(pieces) > 2:
        raise FormulaError(f"'{shown}' has more than one bar.", hint="Write one term for each grouping factor.")
    left, right = pieces[0][1], pieces[1][1] if len(pieces) == 2 else ()
    double = len(pieces) == 2 and pieces[1][0] is not None and pieces[1][0].is_op("||")
    if double and called and structure not in ("us", "diag"):
        raise FormulaError(
            f"'{shown}' has a double bar, which belongs to no structure but diag.", hint="Write a single bar."
        )
    if double:
        structure = "diag"
    group, *items = [item for _, item in split(right, ",")]
    if len(pieces) == 2 and not group:
        raise FormulaError(f"'{shown}' names no grouping factor right of its bar.")
    term = RandomTerm(shown, structure, "", (), options=read_options(items, structure, shown))
    if structure == "spl2d" and len(pieces) == 2:
        raise FormulaError(f"'{shown}' has a bar: a surface has no grouping.", hint="Write spl2d(row, col).")
    if structure in _NEED_NO_BAR:
        term = _surface(term, left, shown)
    elif structure == "kron":
        term = _product(term, left, shown, columns)
    else:
        term = _with_effects(term, left, shown, columns)
    if len(pieces) == 1:
        return [term]
    return [_spell(replace(term, group=levels), called, double) for levels in _groups(group, shown)]


def _with_effects(term: RandomTerm, left: Sequence[Token], shown: str, columns: Collection[str]) -> RandomTerm:
    """Read the left side of the bar."""
    if not left:
        raise FormulaError(
            f"'{shown}' has nothing left of its bar.", hint="Write (1 | group) for one effect per level."
        )
    places = [item for _, item in split(left, "+") if (called := call(item)) and called[0] == "pos"]
    if places and term.structure not in SPATIAL:
        raise FormulaError(
            f"'{shown}' gives positions to {term.structure}, which knows no distances.",
            hint="pos(x, y) belongs to exp, gau, sph and matern.",
        )
    if places:
        rest = [item for _, item in split(left, "+") if item not in (*places, (Token("number", "0"),))]
        if rest or len(places) > 1:
            raise FormulaError(
                f"'{shown}' mixes pos() with other effects.", hint="Write 0 + pos(x, y) alone left of the bar."
            )
        called = call(places[0])
        positions = tuple(_column(item, shown) for _, item in split(called[1] if called else (), ","))
        return replace(term, effects=f"0 + {render(places[0])}", intercept=False, positions=positions)
    intercept, terms, offsets = expand(left, columns)
    if offsets:
        raise FormulaError(f"offset() has no place in the random term '{shown}'.")
    if not intercept and not terms:
        raise FormulaError(
            f"'{shown}' has no effect left of its bar.", hint="Write (1 | group) for one effect per level."
        )
    if term.structure in SPATIAL:
        if intercept or not all(len(factors) == 1 and factors[0].is_column for factors in terms):
            raise FormulaError(
                f"{term.structure}() in '{shown}' takes positions.",
                hint=f"Write {term.structure}(0 + pos(x, y) | group).",
            )
        term = replace(term, positions=tuple(factors[0].names[0] for factors in terms))
    labels = tuple(":".join(factor.text for factor in factors) for factors in terms)
    effects = " + ".join(["1" if intercept else "0", *labels])
    return replace(
        term, effects="1" if effects == "1" else effects, effect_terms=labels, intercept=intercept, terms=terms
    )


def _surface(term: RandomTerm, left: Sequence[Token], shown: str) -> RandomTerm:
    """Read the columns, and options without a bar, of ``spl`` and ``spl2d``."""
    items = [item for _, item in split(left, ",")]
    wanted = 1 if term.structure == "spl" else 2
    named = [_column(item, shown) for item in items[:wanted]]
    if len(named) < wanted or len(set(named)) < wanted:
        raise FormulaError(
            f"'{shown}' needs {'two different columns' if wanted > 1 else 'a column'}, "
            "as in spl(x | group) or spl2d(row, col)."
        )
    options = term.options + read_options(items[wanted:], term.structure, shown)
    effects = ", ".join(quote(name) for name in named)
    text = f"{term.structure}({effects}{spell_options(options)})"
    return replace(term, text=text, effects=effects, intercept=False, positions=tuple(named), options=options)


def _product(term: RandomTerm, left: Sequence[Token], shown: str, columns: Collection[str]) -> RandomTerm:
    """Read the factors of a Kronecker product."""
    parts = tuple(_part(item, shown, columns) for _, item in split(left, ","))
    used = [name for part in parts for name in part.columns]
    if len(parts) < 2 or len(set(used)) < len(used):
        twice = next((name for name in used if used.count(name) > 1), None)
        what = f"has {twice} in two structures" if twice else "has one structure"
        raise FormulaError(
            f"'{shown}' {what}; a product is of two or three over different columns.",
            hint="Write kron(us(trait), ar1(time) | animal).",
        )
    return replace(term, parts=parts, effects=", ".join(part.text for part in parts), intercept=False)


def _part(item: Sequence[Token], shown: str, columns: Collection[str]) -> RandomTerm:
    """Read one factor of a Kronecker product, such as ``ar1(time)``."""
    called = call(item)
    if called is None or called[0] not in STRUCTURES or called[0] in ("kron", "known", *_NEED_NO_BAR):
        raise FormulaError(
            f"'{render(item)}' in '{shown}' is no structure.", hint="Write kron(us(trait), ar1(time) | animal)."
        )
    items = [piece for _, piece in split(called[1], ",")]
    part = RandomTerm(render(item), called[0], "", (), options=read_options(items[1:], called[0], shown))
    effects = (
        items[0]
        if items[0] and items[0][0].kind == "number"
        else (Token("number", "0"), Token("operator", "+"), *items[0])
    )
    return _with_effects(part, effects, shown, columns)


def _column(item: Sequence[Token], shown: str) -> str:
    if len(item) == 1 and item[0].kind == "name":
        return item[0].text
    raise FormulaError(f"'{render(item)}' in '{shown}' should be the name of one column.")


def _groups(tokens: Sequence[Token], shown: str) -> list[tuple[str, ...]]:
    """Return the groupings that ``a:b`` (one) or ``a/b`` (two, nested) stand for."""
    held = inside(tokens)
    if held is not None:
        return _groups(held, shown)
    pieces = [piece for _, piece in split(tokens, "/")]
    if sum(token.kind == "name" for token in tokens) > MAX_GROUPING:
        raise FormulaError(f"The grouping in '{shown[:60]}...' joins more than {MAX_GROUPING} columns.")
    if len(pieces) == 1:
        return [_interaction(tokens, shown)]
    levels: list[tuple[str, ...]] = []
    so_far: tuple[str, ...] = ()
    for piece in pieces:
        so_far = tuple(dict.fromkeys((*so_far, *_interaction(piece, shown))))
        levels.append(so_far)
    return levels


def _interaction(tokens: Sequence[Token], shown: str) -> tuple[str, ...]:
    held = inside(tokens)
    if held is not None:
        return _interaction(held, shown)
    names: list[str] = []
    for _, piece in split(tokens, ":"):
        inner = inside(piece)
        called = call(piece)
        if called and called[0] in _AS_FACTOR:
            piece = called[1]
        if inner is not None:
            names += _interaction(inner, shown)
        elif len(piece) == 1 and piece[0].kind == "name":
            names.append(piece[0].text)
        else:
            raise FormulaError(
                f"The grouping '{render(tokens)}' in '{shown}' cannot be read.", hint=_group_hint(tokens)
            )
    return tuple(dict.fromkeys(names))


def _group_hint(tokens: Sequence[Token]) -> str:
    if any(token.is_op("+", "*") for token in tokens):
        return "Write one term for each grouping: (1 | a) + (1 | b); a:b is their combinations, a/b is b nested in a."
    return "Right of a bar stand columns, joined by ':' (combinations) or '/' (nesting)."


def _spell(term: RandomTerm, called: tuple[str, tuple[Token, ...]] | None, double: bool) -> RandomTerm:
    """Give the term its canonical text."""
    group = ":".join(quote(name) for name in term.group)
    effects = term.effects
    if effects.startswith("1 + "):
        effects = effects.removeprefix("1 + ")
    if called is None:
        return replace(term, text=f"({effects} {'||' if double else '|'} {group})")
    return replace(term, text=f"{term.structure}({effects} | {group}{spell_options(term.options)})")

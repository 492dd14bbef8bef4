"""What a row of the builder holds of a random term, to the notation and back; no widget is drawn here."""

from __future__ import annotations

from typing import Any

import pandas as pd

import openreml_core as reml
from app.session import Dataset, forget, put, value
from openreml_core.notation import STRUCTURES, RandomTerm, compose_random, is_choice, quote, read_random

INTERCEPT = "1"
#: What a row of the builder holds, and what it begins with.
FIELDS: dict[str, Any] = {
    "structure": "us",
    "effects": [INTERCEPT],
    "group": [],
    "positions": [],
    "along": None,
    "across": None,
    "first": "us",
    "first_of": None,
    "second": "ar1",
    "second_of": None,
    "k": 1,
    "nu": 1.5,
    "aniso": False,
    "knots": None,
    "text": "",
    "composed": "",
    "byhand": False,
}


def load(i: int, term: RandomTerm) -> None:
    """Set the widgets of row i to a term."""
    said = read_random(term)
    structure, options = said["structure"], said["options"]
    row = FIELDS | {name: said[name] for name in ("structure", "effects", "group")}
    row |= {name: options[name] for name in ("k", "nu", "aniso", "knots") if name in options}
    places = said["positions"]
    if structure in ("spl", "spl2d"):
        row |= {"along": places[0], "across": places[1] if len(places) > 1 else None}
    elif places:
        row["positions"] = places
    if len(said["parts"]) == 2:
        (row["first"], row["first_of"]), (row["second"], row["second_of"]) = said["parts"]
    known = {"k", "nu", "aniso", "knots"}
    row["byhand"] = not is_choice(term) or len(said["parts"]) > 2 or not set(options) <= known
    row["text"] = term.text
    for name, start in row.items():
        put(key(i, name), start)
    put(key(i, "composed"), _composed(i))


def add(i: int) -> None:
    """An empty row i."""
    for name, start in FIELDS.items():
        put(key(i, name), start)


def remove(i: int, count: int) -> None:
    """Take row i out of ``count`` rows."""
    for j in range(i, count - 1):
        for name, start in FIELDS.items():
            put(key(j, name), value(key(j + 1, name), start))
    forget(f"model_random_{count - 1}_")


def text(i: int) -> str:
    """The random term that row i says, as it was written where nothing has changed; empty while it is incomplete."""
    if value(key(i, "byhand")):
        return str(value(key(i, "text"), ""))
    composed = _composed(i)
    return str(value(key(i, "text"))) if composed and composed == value(key(i, "composed")) else composed


def key(i: int, name: str) -> str:
    """The key of a value of row i."""
    return f"model_random_{i}_{name}"


def _composed(i: int) -> str:
    row = {name: value(key(i, name), start) for name, start in FIELDS.items()}
    structure = row["structure"]
    where = over(structure)
    places = row["positions"] or []
    if where in ("column", "columns"):
        places = [p for p in (row["along"], row["across"] if where == "columns" else None) if p]
    options = {name: row[name] for name in ("k", "nu", "aniso", "knots") if name in STRUCTURES[structure]}
    if options.get("k") == 1 and "k=1" not in str(row["text"]):
        options.pop("k")  # 1 is what goes without saying
    if options.get("nu") == 1.5 and "nu=1.5" not in str(row["text"]):
        options.pop("nu")
    if options.get("knots"):
        options["knots"] = int(options["knots"])
    pair = [(row["first"], row["first_of"] or ""), (row["second"], row["second_of"] or "")]
    group = row["group"] or []
    return compose_random(
        structure, group if where != "columns" else [], effects=row["effects"] or [], positions=places, parts=pair,
        options=options,
    )  # fmt: skip


def over(structure: str) -> str:
    """What a structure stands on."""
    return reml.describe_structure(structure).over


def numbers(data: Dataset) -> list[str]:
    """The columns of numbers that a model may use, as the notation writes them."""
    table = data.prepared()
    return [quote(c) for c, r in data.roles.items() if r != reml.Role.IGNORE and is_number(table[c])]


def settle(data: Dataset, i: int) -> None:
    """After a change of structure: over the levels of a factor there is no intercept; places are proposed."""
    structure, effects = value(key(i, "structure")), value(key(i, "effects")) or []
    if over(structure) in ("levels", "order") or structure in ("fa", "rr"):
        own = [e for e in effects if e != INTERCEPT]
        if own and len(own) < len(effects):
            put(key(i, "effects"), own)
    measured = numbers(data)
    by_role = {r: quote(c) for c, r in data.roles.items() if r in (reml.Role.ROW, reml.Role.COLUMN)}
    places = [q for r in (reml.Role.ROW, reml.Role.COLUMN) if (q := by_role.get(r)) in measured]
    if over(structure) == "positions" and not value(key(i, "positions")):
        put(key(i, "positions"), places)
    if over(structure) == "columns" and len(places) == 2 and not value(key(i, "along")):
        put(key(i, "along"), places[0])
        put(key(i, "across"), places[1])


def kinds(data: Dataset, effects: list[str]) -> list[str]:
    """What each effect is: intercept, factor, number or other."""
    table = data.prepared()
    names = {quote(str(c)): str(c) for c in table.columns}
    out = []
    for effect in effects:
        column = names.get(effect)
        if effect == INTERCEPT:
            out.append("intercept")
        elif column is not None:
            out.append("number" if is_number(table[column]) else "factor")
        else:
            inner = effect.removeprefix("C(").removeprefix("factor(").removesuffix(")")
            out.append("factor" if inner != effect and inner in names else "other")
    return out


def is_number(column: pd.Series) -> bool:
    """Whether a column holds numbers, not levels."""
    return pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)


def size(data: Dataset, effects: list[str], structure: str) -> int | None:
    """How many effects a level has; None where that takes a design to say."""
    table = data.prepared()
    names = {quote(str(c)): str(c) for c in table.columns}
    own = kinds(data, effects)
    if "other" in own:
        return None
    total = 0
    for effect, kind in zip(effects, own, strict=True):
        column = names.get(effect) or names.get(effect.partition("(")[2].removesuffix(")"))
        if kind == "factor" or (kind == "number" and over(structure) == "order"):
            total += int(table[column].nunique()) - ("intercept" in own)
        else:
            total += 1
    return total

"""A structure at a size: words, number of parameters and picture; and which structures suit a term's effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import pandas as pd
from torch import Tensor

from openreml_core.errors import FormulaError, did_you_mean
from openreml_core.gallery.entries import ENTRIES, VARIANTS
from openreml_core.gallery.examples import EXAMPLES, SIZE, build, typical


@dataclass(frozen=True, eq=False)
class StructureDescription:
    """A structure at a size.

    Attributes
    ----------
    keyword, family, title, sentence, over : str
    n_parameters : int
        Parameters over ``size`` effects.
    example : DataFrame
        Its matrix at typical parameters, over six effects; over a grid of 4 x 4 for a surface.
    """

    keyword: str
    family: str
    title: str
    sentence: str
    over: str
    n_parameters: int
    example: pd.DataFrame


def structure_gallery() -> dict[str, StructureDescription]:
    """Every structure that a random term can have, by its keyword, in the order of a menu."""
    return {keyword: describe_structure(keyword) for keyword in ENTRIES}


@lru_cache(maxsize=256)
def describe_structure(
    keyword: str, size: int = SIZE, *, k: int = 1, nu: float = 1.5, aniso: bool = False
) -> StructureDescription:
    """What a structure is for, and what its matrix looks like.

    Parameters
    ----------
    keyword : str
        As in a formula: ``"us"``, ``"ar1"``, ``"fa"``, ...
    size : int
        Number of effects that the parameters are counted for.
    k : int
        Factors of ``fa`` and ``rr``, order of ``ante``.
    nu : float
        Smoothness of ``matern``.
    aniso : bool
        Whether a spatial structure has a range per coordinate.

    Raises
    ------
    FormulaError
        An unknown structure, or an order that it cannot have.

    Examples
    --------
    >>> found = describe_structure("ar1")
    >>> found.family, found.n_parameters, found.example.iloc[0, :3].round(3).tolist()
    ('serial', 2, [1.0, 0.7, 0.49])
    """
    name = VARIANTS.get(keyword, keyword)
    if name not in ENTRIES:
        hint = did_you_mean(str(keyword), list(ENTRIES)).replace("The columns are", "Known are")
        raise FormulaError(f"'{keyword}' is no covariance structure.", hint=hint)
    entry = ENTRIES[name]
    own = keyword in VARIANTS and name in ("exp", "gau", "sph", "matern")
    if name in EXAMPLES:
        count, example = EXAMPLES[name]()
    else:
        try:
            count = build(name, size, k, nu, aniso).n_parameters + (size - 1 if own else 0)
            shown = build(name, SIZE, min(k, SIZE - 1), nu, aniso)
        except ValueError as error:
            raise FormulaError(f"The structure {keyword} is not possible here: {error}.") from None
        example = shown.matrix(shown.from_natural(typical(shown)))
    return StructureDescription(
        keyword=keyword,
        family=entry.family,
        title=entry.title + (", a variance per position" if own else ""),
        sentence=entry.sentence,
        over=entry.over,
        n_parameters=count,
        example=_labelled(example),
    )


def suitable_structures(effects: Sequence[str], size: int | None = None) -> tuple[str, ...]:
    """The structures that make sense over the effects of a random term.

    Parameters
    ----------
    effects : sequence of str
        What each effect is: ``"intercept"``, ``"factor"``, ``"number"`` or ``"other"``.
    size : int, optional
        How many effects they come to, levels counted; unknown by default.

    Examples
    --------
    >>> suitable_structures(["intercept"])[:2]
    ('us', 'exp')
    >>> "ar1" in suitable_structures(["factor"]), "cs" in suitable_structures(["intercept", "number"])
    (True, False)
    """
    kinds = list(effects)
    own = [k for k in kinds if k != "intercept"]
    many = size is None or size > 2
    fits = {"positions", "column", "columns", "parts"}
    out = []
    for keyword, entry in ENTRIES.items():
        if entry.over in fits:
            suits = True
        elif keyword == "known":
            suits = kinds == ["intercept"]
        elif not own:
            suits = keyword == "us"
        elif entry.over == "effects":
            suits = keyword in ("us", "diag") or many
            suits = suits and (keyword != "diag" or len(kinds) > 1 or own == ["factor"])
        elif entry.over == "levels":
            suits = own == ["factor"]
        else:
            short = keyword in ("ar1", "arh1", "toep", "toeph", "ante")
            suits = kinds == ["number"] or (own == ["factor"] and (many or short))
        if suits:
            out.append(keyword)
    return tuple(out)


def _labelled(matrix: Tensor) -> pd.DataFrame:
    names = [str(i + 1) for i in range(len(matrix))]
    return pd.DataFrame(matrix.numpy(), index=names, columns=names)

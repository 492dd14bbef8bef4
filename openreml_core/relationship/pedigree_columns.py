"""Which columns of a pedigree hold the individual and its parents."""

from __future__ import annotations

import pandas as pd

from openreml_core.errors import DataError, did_you_mean

#: Usual names, in lower case without marks between words; the first of them is the parameter's default.
USUAL: dict[str, tuple[str, ...]] = {
    "id": (
        *("id", "individual", "ind", "animal", "indiv", "name", "self", "progeny", "offspring", "calf", "tree"),
        *("gen", "geno", "genotype", "line", "variety", "cultivar", "entry", "clone", "accession", "gid", "label"),
    ),
    "sire": ("sire", "father", "male", "maleparent", "sireid", "fatherid", "pollen", "parent1", "p1", "dad", "pere"),
    "dam": ("dam", "mother", "female", "femaleparent", "damid", "motherid", "seed", "parent2", "p2", "mum", "mere"),
}


def find_columns(table: pd.DataFrame, id: str, sire: str, dam: str, groups: str | None) -> list[str]:
    """Return the columns of the individual, the sire, the dam and, when asked for, the group.

    A name that is not in the table is looked for under its usual names, but only where it was left at its default.

    >>> find_columns(pd.DataFrame(columns=["Animal", "Mother", "Father"]), "id", "sire", "dam", None)
    ['Animal', 'Father', 'Mother']
    """
    if not isinstance(table, pd.DataFrame):
        raise DataError(
            "A pedigree is read from a table, not from a " + type(table).__name__ + ".",
            hint="Give a DataFrame with the columns id, sire and dam.",
        )
    plain = {"".join(sign for sign in str(name).lower() if sign.isalnum()): name for name in reversed(table.columns)}
    found = []
    for default, name in (("id", id), ("sire", sire), ("dam", dam)):
        usual = [plain[word] for word in USUAL[default] if word in plain] if name == default else []
        if name not in table.columns and not usual:
            known = [str(column) for column in table.columns]
            raise DataError(
                f"The pedigree has no column *{name}*.",
                hint=f"{did_you_mean(name, known)} Say which it is with {default}=.".strip(),
            )
        found.append(name if name in table.columns else usual[0])
    if groups is not None:
        if groups not in table.columns:
            known = [str(column) for column in table.columns]
            raise DataError(f"The pedigree has no column *{groups}*.", hint=did_you_mean(groups, known))
        found.append(groups)
    if len(set(found)) < len(found):
        raise DataError(
            f"The columns of individual, sire and dam must differ: {', '.join(found)}.",
            hint="Give id=, sire= and dam=.",
        )
    if not table.columns.is_unique:
        repeated = [name for name in found if list(table.columns).count(name) > 1]
        if repeated:
            raise DataError(f"The pedigree has several columns named *{repeated[0]}*.", hint="Rename one of them.")
    return found

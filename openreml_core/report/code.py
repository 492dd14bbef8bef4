"""The script that repeats a fit, in Python or in R with lme4."""

from __future__ import annotations

from typing import Any

from openreml_core.design.columns import as_factor
from openreml_core.design.contrasts import Contrast, contrast_matrix
from openreml_core.errors import ModelError
from openreml_core.notation import parse_residual
from openreml_core.tables import Excluded, exclusion_words

LANGUAGES = ("python", "r-lme4")


def to_code(fit: Any, language: str = "python") -> str:
    """A script that repeats ``fit`` on a table called ``data``.

    Parameters
    ----------
    fit : MixedModelFit
    language : {"python", "r-lme4"}

    Raises
    ------
    ModelError
        For another language, or for what that language cannot say.
    """
    if language == "python":
        return _python(fit)
    if language == "r-lme4":
        return _lme4(fit)
    raise ModelError(f"There is no code in {language!r}.", hint=f"Choose one of {', '.join(LANGUAGES)}.")


def _python(fit: Any) -> str:
    spec = fit.specification
    known = _known_groups(fit)
    if known:
        raise ModelError(
            f"The relationship matrix of {', '.join(known)} has to be given beside the code, which cannot hold it.",
            hint=f'Add relationship={{"{known[0]}": A}} to the call of fit, A being the matrix.',
        )
    options: dict[str, tuple[Any, Any]] = {
        "residual": (spec.residual, None),
        "method": (spec.method, "reml"),
        "weights": (spec.weights, None),
        "offset": (spec.offset, None),
        "contrasts": (spec.contrasts, {}),
        "algorithm": (spec.algorithm, "ai"),
        "engine": (spec.engine, "auto"),
        "max_iterations": (spec.max_iterations, None),
        "start": (spec.start, None),
        "fixed": (spec.fixed, None),
        "ties": (spec.ties, None),
        "missing": (spec.missing, "drop"),
        "exclude": (dict(spec.excluded), {}),
    }
    given = "".join(f",\n    {name}={value!r}" for name, (value, default) in options.items() if value != default)
    factors = _factors(fit)
    rows = 'reml.read_table("data.csv")' if fit.has_rows else '"part-*.parquet"'
    lines = ["import openreml_core as reml", "", f"data = {rows}"]
    lines += [f"data[{name!r}] = data[{name!r}].astype(str).astype('category')" for name in factors]
    lines += [f"fit = reml.fit(\n    {spec.formula!r},\n    data{given},\n)", "print(fit)"]
    return "\n".join(lines) + "\n"


def _lme4(fit: Any) -> str:
    spec = fit.specification
    if spec.fixed or spec.ties:
        raise ModelError(
            "lme4 cannot hold a variance at a given value or tie it to another.",
            hint="Take the Python code, or leave `fixed` and `ties` out.",
        )
    if not parse_residual(spec.residual).is_plain:
        raise ModelError(f"lme4 cannot fit the residual {spec.residual}.", hint="Take the Python code.")
    if known := _known_groups(fit):
        raise ModelError(f"lme4 cannot take the relationship matrix of {', '.join(known)}.", hint="Fit it here.")
    formula = fit.design.formula
    if other := [term.text for term in formula.random if not term.text.startswith("(")]:
        raise ModelError(f"lme4 cannot fit the term {other[0]}.", hint="Take the Python code.")
    words = {"C(": "factor(", "**": "^"}
    text = formula.text
    for ours, theirs in words.items():
        text = text.replace(ours, theirs)
    extra = ", REML = FALSE" if spec.method == "ml" else ""
    extra += f", weights = `{spec.weights}`" if spec.weights else ""
    extra += f", offset = `{spec.offset}`" if spec.offset else ""
    extra += _r_contrasts(fit, words)
    lines = ["library(lme4)", "", 'data <- read.csv("data.csv", check.names = FALSE)']
    lines += _r_exclusion(spec.excluded)
    lines += [f"data[[{_quoted(name)}]] <- factor(data[[{_quoted(name)}]])" for name in _factors(fit, groups=True)]
    lines += [f"fit <- lmer({text}, data{extra})", "summary(fit)"]
    return "\n".join(lines) + "\n"


def _r_exclusion(excluded: Excluded) -> list[str]:
    """Leaves the excluded rows out: R counts them from 1."""
    if not excluded:
        return []
    numbers = [label for label, _ in excluded if isinstance(label, int) and label >= 0]
    if len(numbers) < len(excluded):
        raise ModelError(
            "The rows left out have names, which a file read into R does not.", hint="Take the Python code."
        )
    words = exclusion_words(
        tuple((n + 1, " ".join(why.split())) for n, (_, why) in zip(numbers, excluded, strict=True))
    )
    return [f"# left out, counted from 1: {words}", f"data <- data[-c({', '.join(str(n + 1) for n in numbers)}), ]"]


def _r_contrasts(fit: Any, words: dict[str, str]) -> str:
    """``, contrasts = list(...)`` for the factors whose coding is not R's default."""
    coding = fit.design.coding
    entries = []
    for variable in coding.variables.values():
        name = variable.expression.names[0]
        contrast = coding.contrasts.get(name) if len(variable.expression.names) == 1 else None
        if contrast is None or contrast == Contrast():
            continue
        text = variable.expression.text.strip("`")
        for ours, theirs in words.items():
            text = text.replace(ours, theirs)
        entries.append(f"`{text}` = {_r_contrast(contrast, as_factor(fit.data[name]).levels, name)}")
    return f", contrasts = list({', '.join(entries)})" if entries else ""


def _r_contrast(contrast: Contrast, levels: tuple[str, ...], name: str) -> str:
    named = {"sum": "contr.sum", "helmert": "contr.helmert", "sas": "contr.SAS", "poly": "contr.poly"}
    if contrast.kind in named and contrast.scores is None:
        return f'"{named[contrast.kind]}"'
    matrix, columns = contrast_matrix(contrast, levels, name)
    numbers = ", ".join(f"{x:.12g}" for x in matrix.T.reshape(-1))
    titles = ", ".join(_quoted(c) for c in columns)
    return f"matrix(c({numbers}), nrow = {len(levels)}, dimnames = list(NULL, c({titles})))"


def _known_groups(fit: Any) -> list[str]:
    """The grouping factors whose levels have a known relationship."""
    terms = zip(fit.design.random, fit.estimates.engine.model.terms, strict=True)
    return list(dict.fromkeys(":".join(design.group) for design, term in terms if term.kernel is not None))


def _factors(fit: Any, groups: bool = False) -> list[str]:
    """Columns used as factors though a file would show numbers; with ``groups`` all that are factors."""
    if not fit.has_rows:
        return []
    frame = fit.data
    out = []
    for name in frame.columns:
        categorical = str(frame[name].dtype) == "category"
        if categorical and (groups or _looks_numeric(frame[name])):
            out.append(str(name))
    return out


def _looks_numeric(column: Any) -> bool:
    try:
        [float(v) for v in column.cat.categories]
    except (TypeError, ValueError):
        return False
    return True


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'

"""The script that repeats a fit, in Python or in R with lme4."""

from __future__ import annotations

from typing import Any

from openreml_core.errors import ModelError
from openreml_core.notation import parse_residual

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
    lines = ["library(lme4)", "", 'data <- read.csv("data.csv", check.names = FALSE)']
    lines += [f"data[[{_quoted(name)}]] <- factor(data[[{_quoted(name)}]])" for name in _factors(fit, groups=True)]
    lines += [f"fit <- lmer({text}, data{extra})", "summary(fit)"]
    return "\n".join(lines) + "\n"


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

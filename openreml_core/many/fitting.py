"""``fit_many``: one model for every trial of a table, or for many responses."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from openreml_core.design.table import Table
from openreml_core.errors import DataError, FormulaError, ModelError, RepeatCancelled, did_you_mean
from openreml_core.estimating import check_options
from openreml_core.fitting import fit
from openreml_core.many.fits import ManyFits
from openreml_core.many.tasks import Batch, FitDone, Sharing, fit_batch
from openreml_core.notation import Formula, parse_formula
from openreml_core.notation.tokens import quote
from openreml_core.repeat import Executor, run_all, workers_of

OnFit = Callable[[FitDone], object]
#: What ``fit`` can be asked for each time.
_OF_ONE = ("formula", "data", "on_iteration", "exclude")
OPTIONS = tuple(name for name in inspect.signature(fit).parameters if name not in _OF_ONE)
#: Batches of responses that a worker of an executor gets, so that all end at about the same time.
BATCHES = 2


def fit_many(
    formula: str,
    data: pd.DataFrame,
    *,
    by: str | Sequence[str] | None = None,
    responses: Sequence[str] | None = None,
    executor: Executor | None = None,
    on_fit: OnFit | None = None,
    **options: Any,
) -> ManyFits:
    """Fit one model to every group of rows, to many responses, or both.

    A fit that fails is listed with its message and does not end the others. Responses that are complete in the same rows
    share the design, and the cross-products of Z and X where the mixed-model equations are solved: only y's are new.

    Parameters
    ----------
    formula : str
        As :func:`openreml_core.fit` takes it. With ``responses`` it has no left side: ``"~ rep + (1 | gen)"``.
    data : DataFrame
    by : str or sequence of str, optional
        Columns whose combinations of values make the groups: ``"trial"``, ``["site", "year"]``.
    responses : sequence of str, optional
        Columns, or left sides such as ``"log(yield)"``.
    executor : Executor, optional
        Who runs the fits: anything with the ``submit`` of ``concurrent.futures``, such as a process pool, a thread pool or
        dask's ``client.get_executor()``; this process, one after the other, without one.
    on_fit : callable, optional
        Called with each FitDone as it ends; returning False cancels the rest, and what is done is returned.
    **options
        Those of :func:`openreml_core.fit`, for every fit alike.

    Returns
    -------
    ManyFits

    Raises
    ------
    ModelError
        The formula, an option or a column is wrong for all of them; the executor cannot work.

    Examples
    --------
    >>> import openreml_core as reml
    >>> data = reml.load_sample("john_alpha")
    >>> many = reml.fit_many("~ rep + (1 | gen) + (1 | rep:block)", data, responses=["yield", "log(yield)"])
    >>> list(many.fits), round(many["yield"].parameters["gen.variance"], 4)
    (['yield', 'log(yield)'], 0.1429)
    """
    began = time.perf_counter()
    table = Table.of(data)
    _check(options, executor)
    keys = _by(by, table)
    named = _responses(responses, table)
    formulas = _formulas(formula, named, table, options)
    if not keys and not named:
        raise ModelError("There is one fit to make.", hint='Give by="trial", responses=["y1", "y2"], or use fit.')
    groups, notes = list(_groups(data, keys, table, options)), []
    if ungrouped := len(data) - sum(len(rows) for _, rows, _ in groups):
        rows = "1 row without a value" if ungrouped == 1 else f"{ungrouped} rows without a value"
        notes.append(f"{rows} of {', '.join(keys)} {'is' if ungrouped == 1 else 'are'} in no fit.")
    step = 1 if executor is None else -(-len(formulas) * len(groups) // (BATCHES * workers_of(executor)))
    batches = [
        Batch(key, data.iloc[rows], formulas[start : start + step], named[start : start + step], own)
        for key, rows, own in groups
        for start in range(0, len(formulas), step)
    ]
    total, done = len(groups) * len(formulas), 0

    def ended(_: int, found: list[FitDone]) -> bool:
        nonlocal done
        for one in found:
            done += 1
            if on_fit is not None and on_fit(replace(one, done=done, total=total)) is False:
                return False
        return True

    function = fit_batch if executor is not None else partial(fit_batch, sharing=Sharing())
    try:
        results = run_all(function, batches, executor, ended)
    except RepeatCancelled as stopped:
        results = [stopped.results[place] for place in sorted(stopped.results)]
        missing = total - sum(len(found) for found in results)
        notes.append(f"Cancelled: {missing} of {total} fits were not made.")
    fits = [one for found in results for one in found]
    return ManyFits(
        formula.text if isinstance(formula, Formula) else formula.strip(),
        keys,
        named,
        fits,
        tuple(notes),
        time.perf_counter() - began,
    )


def _check(options: dict[str, Any], executor: Any) -> None:
    for name in options:
        if name == "on_iteration":
            raise ModelError("on_iteration belongs to one fit.", hint="Many fits have on_fit, called as each ends.")
        if name not in OPTIONS:
            raise ModelError(
                f"*{name}* is no option of a fit.", hint=did_you_mean(name, OPTIONS).replace("columns", "options")
            )
    given = {"method": "reml", "algorithm": "ai", "engine": "auto", "missing": "drop", **options}
    known = inspect.signature(check_options).parameters
    check_options(**{name: value for name, value in given.items() if name in known})
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise ModelError(
            f"executor={executor!r} cannot be given work.",
            hint="Give a concurrent.futures executor, such as ProcessPoolExecutor(), or none.",
        )


def _by(by: str | Sequence[str] | None, table: Table) -> tuple[str, ...]:
    names = (by,) if isinstance(by, str) else tuple(by or ())
    for name in names:
        if not isinstance(name, str):
            raise ModelError(f"by={by!r} does not name columns.", hint='Write by="trial" or by=["site", "year"].')
        table.name(name, "by")
    if len(set(names)) < len(names):
        raise ModelError(f"by={by!r} names a column twice.", hint="Name it once.")
    return names


def _responses(responses: Sequence[str] | None, table: Table) -> tuple[str, ...]:
    if responses is None:
        return ()
    names = tuple(responses)
    if isinstance(responses, str) or not names or not all(isinstance(name, str) for name in names):
        raise ModelError(
            f"responses={responses!r} is no list of responses.", hint='Write responses=["yield", "height"].'
        )
    if len(set(names)) < len(names):
        raise ModelError(f"responses={responses!r} names a response twice.", hint="Name it once.")
    return names


def _formulas(formula: Any, responses: tuple[str, ...], table: Table, options: dict[str, Any]) -> tuple[str, ...]:
    """The formula of each response; mistakes that all of the fits would meet are met here."""
    text = formula.text if isinstance(formula, Formula) else formula
    if responses and isinstance(text, str):
        if not text.strip().startswith("~"):
            raise FormulaError(
                "The formula has a response of its own beside those of responses=.",
                hint='Begin it with the "~": "~ rep + (1 | gen)".',
            )
        texts = tuple(f"{quote(name) if name in table.own else name} {text.strip()}" for name in responses)
    else:
        texts = (text,)
    for one in texts:
        for name in parse_formula(one, tuple(table.own)).columns:
            table.name(name, one)
    return texts


def _groups(
    data: pd.DataFrame, by: tuple[str, ...], table: Table, options: dict[str, Any]
) -> Iterator[tuple[tuple[Any, ...], np.ndarray, dict[str, Any]]]:
    """Key, rows and options of every group: numbers by size, categories in their order, text by the alphabet."""
    beside = {name: _numbers(name, options.get(name), len(data)) for name in ("weights", "offset")}
    if by:
        found = data.groupby([table.own[name] for name in by], sort=True, observed=True, dropna=True)
        groups = [(key, np.asarray(rows)) for key, rows in found.indices.items()]
        if not groups:
            raise DataError(f"No row has a value of {', '.join(by)}.", hint="Name another column.")
    else:
        groups = [((), np.arange(len(data)))]
    for key, rows in groups:
        own = {**options, **{name: values[rows] for name, values in beside.items() if values is not None}}
        yield (key if isinstance(key, tuple) else (key,)), rows, own


def _numbers(what: str, given: Any, rows: int) -> np.ndarray | None:
    """Weights or an offset given beside the table, of which every group takes its own rows."""
    if given is None or isinstance(given, str):
        return None
    values = np.asarray(given)
    if values.shape != (rows,):
        raise DataError(
            f"The {what} given have the shape {values.shape}; the table has {rows} rows.",
            hint="Give one number per row, or a column's name.",
        )
    return values

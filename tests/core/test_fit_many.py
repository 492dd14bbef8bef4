"""Many fits are the fits one by one: by groups, of many responses, in this process and in others."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import openreml_core as reml
from openreml_core.assembly import build_model
from openreml_core.engines import HendersonEngine, SharedEquations
from openreml_core.many.tasks import KeptFit
from openreml_core.repeat import run_all

FORMULA = "y ~ rep + (1 | gen)"


def trials(count: int = 4, seed: int = 5) -> pd.DataFrame:
    """Trials of 20 genotypes in 3 replicates, four responses, the second with missing values, the fourth with others."""
    rng = np.random.default_rng(seed)
    grid = pd.MultiIndex.from_product(
        [[f"T{t}" for t in range(count)], ["R1", "R2", "R3"], [f"G{g:02d}" for g in range(20)]],
        names=["trial", "rep", "gen"],
    )
    data = grid.to_frame(index=False)
    gen = data["trial"] + data["gen"]
    for k, name in enumerate(["y", "height", "days", "oil"]):
        effects = pd.Series(rng.normal(0, 1 + k, gen.nunique()), index=gen.unique())
        data[name] = 50 + gen.map(effects).to_numpy() + rng.normal(0, 2, len(data))
    data.loc[[3, 50, 51], "height"] = np.nan
    data.loc[[5, 44], "oil"] = np.nan
    return data


def same(one: reml.MixedModelFit, other: reml.MixedModelFit, stored: bool = False) -> None:
    assert one.criterion == pytest.approx(other.criterion, rel=1e-10)
    assert one.parameters == pytest.approx(other.parameters, rel=1e-5)
    assert one.formula == other.formula
    assert one.n_obs == other.n_obs and one.n_dropped == other.n_dropped
    assert one.response_name == other.response_name
    assert list(one.data.columns) == list(other.data.columns)
    if not stored:  # of rows that were left out, a file keeps the number
        pd.testing.assert_frame_equal(one.design.dropped, other.design.dropped)
    pd.testing.assert_series_equal(one.fitted(), other.fitted(), rtol=1e-6)
    pd.testing.assert_series_equal(one.response, other.response)


# -- groups -------------------------------------------------------------------------------------------------------


def test_groups_are_fitted_as_if_alone() -> None:
    data = trials()
    many = reml.fit_many(FORMULA, data, by="trial")
    assert list(many.fits) == ["T0", "T1", "T2", "T3"] == many.table["trial"].tolist()
    for name, fit in many.fits.items():
        alone = reml.fit(FORMULA, data[data["trial"] == name])
        same(fit, alone)
        row = many.table.set_index("trial").loc[name]
        assert row["criterion"] == pytest.approx(alone.criterion)
        assert row["gen.variance"] == pytest.approx(alone.parameters["gen.variance"], rel=1e-5)
        assert row["n"] == alone.n_obs == 60
        assert row["message"] == fit.message
    assert many.failures.empty


def test_several_columns_make_the_groups() -> None:
    data = trials().assign(year=lambda d: np.where(d["rep"] == "R1", 2001, 2002))
    many = reml.fit_many("y ~ 1 + (1 | rep)", data, by=["trial", "year"])
    assert list(many.table.columns[:2]) == ["trial", "year"]
    assert ("T1", 2002) in many.fits and ("T1", 2001) not in many.fits  # one replicate in 2001: no variance of it
    assert many.failures["trial"].tolist() == ["T0", "T1", "T2", "T3"]
    assert set(many.failures["year"]) == {2001}


def test_a_group_that_fails_is_listed_and_the_others_are_fitted() -> None:
    data = trials()
    data.loc[data["trial"] == "T2", "y"] = 7.0
    many = reml.fit_many(FORMULA, data, by="trial")
    assert list(many.fits) == ["T0", "T1", "T3"]
    (failure,) = many.failures.to_dict("records")
    with pytest.raises(reml.DataError) as alone:
        reml.fit(FORMULA, data[data["trial"] == "T2"])
    assert failure == {"trial": "T2", "error": "DataError", "message": str(alone.value)}
    with pytest.raises(KeyError, match="nothing to explain"):
        many["T2"]
    assert "T2" in many.summary() and "nothing to explain" in many.summary()
    assert "1 failed" in many.summary().splitlines()[0]


def test_weights_beside_the_table_are_shared_out() -> None:
    data = trials()
    weights = np.random.default_rng(1).uniform(0.5, 2, len(data))
    many = reml.fit_many(FORMULA, data, by="trial", weights=weights)
    rows = (data["trial"] == "T1").to_numpy()
    same(many["T1"], reml.fit(FORMULA, data[rows], weights=weights[rows]))
    with pytest.raises(reml.DataError, match="240 rows"):
        reml.fit_many(FORMULA, data, by="trial", weights=weights[:-1])


def test_rows_of_no_group_are_said() -> None:
    data = trials()
    data.loc[[0, 1], "trial"] = None
    many = reml.fit_many(FORMULA, data, by="trial")
    assert many["T0"].n_obs == 58
    assert many.notes == ("2 rows without a value of trial are in no fit.",)
    assert many.notes[0] in many.summary()


# -- responses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["marginal", "henderson"])
@pytest.mark.parametrize("method", ["reml", "ml"])
def test_responses_are_fitted_as_if_alone(engine: str, method: str) -> None:
    data = trials(2)
    names = ["y", "height", "days", "oil", "log(days + 60)"]
    right = "~ trial + rep + (1 | trial:gen) + (1 | trial:rep)"
    options = {"engine": engine, "method": method}
    many = reml.fit_many(right, data, responses=names, **options)
    assert many.failures.empty and many.table["response"].tolist() == names
    for name in names:
        same(many[name], reml.fit(f"{name} {right}", data, **options))


@pytest.mark.parametrize(
    ("formula", "residual", "weights"),
    [
        ("~ 1 + (1 | trial:gen)", "dsum(id(units) | trial)", None),
        ("~ rep + (1 | trial/gen)", None, "w"),
        ("~ trial + (days | gen) + (1 | rep)", None, None),
    ],
)
def test_shared_equations_are_those_of_each_response(formula: str, residual: str | None, weights: str | None) -> None:
    data = trials(3).assign(w=lambda d: 1 + d.index % 3)
    shared = SharedEquations()
    for name in ("y", "height", "oil"):
        complete = data.dropna(subset=["height", "oil"])
        _, model = build_model(f"{name} {formula}", complete, residual=residual, weights=weights)
        theta = 0.7 * model.start() + 0.1
        one, other = shared.engine(model).evaluate(theta), HendersonEngine(model).evaluate(theta)
        assert one.criterion == pytest.approx(other.criterion, rel=1e-11)
        for what in ("score", "information", "beta", "beta_covariance"):
            torch.testing.assert_close(getattr(one, what), getattr(other, what), rtol=1e-9, atol=1e-9)


def test_responses_complete_in_the_same_rows_share_their_design() -> None:
    data = trials(2)
    many = reml.fit_many("~ rep + (1 | trial:gen)", data, responses=["y", "height", "days", "oil"])
    assert many["days"].design.X is many["y"].design.X
    assert many["height"].design.X is not many["y"].design.X
    assert many["days"].design.formula.response == "days"
    assert "y" not in many["days"].data and "days" in many["days"].data


def test_groups_times_responses() -> None:
    data = trials(3)
    many = reml.fit_many("~ rep + (1 | gen)", data, by="trial", responses=["y", "height"])
    assert list(many.fits) == [(t, r) for t in ("T0", "T1", "T2") for r in ("y", "height")]
    same(many["T1", "height"], reml.fit("height ~ rep + (1 | gen)", data[data["trial"] == "T1"]))


def test_a_response_that_fails_is_listed() -> None:
    data = trials(2).assign(word="a", flat=1.0)
    many = reml.fit_many("~ rep + (1 | trial:gen)", data, responses=["flat", "y", "word"])
    assert list(many.fits) == ["y"]
    assert many.failures["response"].tolist() == ["flat", "word"]
    assert "not numeric" in many.failures["message"][1]


# -- tables -------------------------------------------------------------------------------------------------------


def test_tidy_stacks_the_tables() -> None:
    data = trials(3)
    many = reml.fit_many(FORMULA, data, by="trial")
    fixed = many.tidy("fixed")
    assert fixed["trial"].value_counts().to_dict() == {"T0": 3, "T1": 3, "T2": 3}
    alone = reml.fit(FORMULA, data[data["trial"] == "T2"])
    own = fixed[fixed["trial"] == "T2"].drop(columns="trial").reset_index(drop=True)
    pd.testing.assert_frame_equal(own, alone.tidy("fixed"), rtol=1e-5, check_like=True)
    assert len(many.tidy("blup")) == 60 and len(many.tidy("random")) == 6
    with pytest.raises(reml.ModelError, match="tidy"):
        many.tidy("all")


def test_a_column_of_the_tables_does_not_hide_a_label() -> None:
    data = trials(2).rename(columns={"trial": "term"})
    tidied = reml.fit_many(FORMULA, data, by="term").tidy("fixed")
    assert tidied["term.by"].tolist() == ["T0"] * 3 + ["T1"] * 3


def test_a_group_may_be_called_as_a_column_of_the_table() -> None:
    data = trials(2).rename(columns={"trial": "seconds"})
    many = reml.fit_many("~ rep + (1 | gen)", data.assign(response="A"), by=["seconds", "response"], responses=["y"])
    assert many.table.columns[:3].tolist() == ["seconds.by", "response", "response.by"]
    assert many.table["seconds.by"].tolist() == ["T0", "T1"] and (many.table["seconds"] > 0).all()


def test_it_is_shown_in_a_notebook() -> None:
    html = reml.fit_many("y ~ rep + (1 | gen)", trials(2), by="trial")._repr_html_()
    assert "<table" in html and "T1" in html and "2 of 2 converged" in html


# -- executors ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def processes() -> Any:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def test_a_pool_of_processes(processes: Executor) -> None:
    data = trials(3)
    data.loc[data["trial"] == "T1", "y"] = 7.0
    many = reml.fit_many(FORMULA, data, by="trial", executor=processes)
    alone = reml.fit_many(FORMULA, data, by="trial")
    assert many.failures.equals(alone.failures) and len(many.failures) == 1
    columns = ["trial", "n", "criterion", "converged", "singular", "gen.variance", "residual.variance"]
    pd.testing.assert_frame_equal(many.table[columns], alone.table[columns], rtol=1e-8)
    same(many["T2"], reml.fit(FORMULA, data[data["trial"] == "T2"]))
    assert many["T2"].seconds == pytest.approx(many.table["seconds"][2])


def test_responses_in_a_pool_of_processes(processes: Executor) -> None:
    data = trials(2)
    names = ["y", "height", "days", "oil", "y + days"]
    many = reml.fit_many("~ trial + rep + (1 | trial:gen)", data, responses=names, executor=processes)
    assert list(many.fits) == names
    for name in names:
        same(many[name], reml.fit(f"{name} ~ trial + rep + (1 | trial:gen)", data), stored=True)


def test_workers_use_one_thread(processes: Executor) -> None:
    assert run_all(_threads_of_a_large_fit, [0, 1, 2], processes) == [1, 1, 1]


def _threads_of_a_large_fit(_: int) -> int:
    from openreml_core.engines.threads import use_threads

    use_threads(100_000)
    return torch.get_num_threads()


def test_a_pool_of_threads() -> None:
    data = trials(4)
    before = torch.get_num_threads()
    with ThreadPoolExecutor(3) as pool:
        many = reml.fit_many("~ rep + (1 | gen)", data, by="trial", responses=["y", "height", "days"], executor=pool)
    assert torch.get_num_threads() == before
    alone = reml.fit_many("~ rep + (1 | gen)", data, by="trial", responses=["y", "height", "days"])
    pd.testing.assert_frame_equal(many.table.drop(columns="seconds"), alone.table.drop(columns="seconds"), rtol=1e-8)


class Broken(Executor):
    """A pool whose worker dies."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        future.set_exception(BrokenProcessPool("a child process terminated abruptly"))
        return future


def test_a_dead_worker_is_one_sentence() -> None:
    with pytest.raises(reml.ModelError, match=r"ended before its work was done \(a child process"):
        run_all(abs, [0, 1], Broken())


def test_an_executor_that_is_shut_down() -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(reml.ModelError, match="takes no work"):
        run_all(abs, [1], pool)


def test_what_a_task_raises_passes_through_and_ends_the_rest() -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(ZeroDivisionError):
        run_all(lambda x: 1 // x, [1, 0, 2], pool)


class Backwards(Executor):
    """Does its work when all of it is there, the last task first."""

    def __init__(self, tasks: int) -> None:
        self.tasks, self.waiting = tasks, []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        self.waiting.append((future, fn, args))
        if len(self.waiting) == self.tasks:
            for one, function, given in reversed(self.waiting):
                one.set_result(function(*given))
        return future


def test_results_are_in_the_order_of_the_tasks_whatever_ends_first() -> None:
    seen: list[int] = []
    assert run_all(abs, [-1, -2, -3], Backwards(3), lambda place, _: seen.append(place)) == [1, 2, 3]
    # Callbacks of futures that are done already come as they are added: in order here.
    assert sorted(seen) == [0, 1, 2]


@pytest.mark.parametrize("pooled", [False, True])
def test_progress_and_cancelling(pooled: bool) -> None:
    data, seen = trials(4), []

    def watch(one: reml.FitDone) -> bool:
        seen.append((one.done, one.total, one.key))
        return one.done < 2

    pool = ThreadPoolExecutor(1) if pooled else None
    many = reml.fit_many(FORMULA, data, by="trial", on_fit=watch, executor=pool)
    if pool is not None:
        pool.shutdown()
    assert seen == [(1, 4, ("T0",)), (2, 4, ("T1",))]
    assert list(many.fits) == ["T0", "T1"]
    assert many.notes == ("Cancelled: 2 of 4 fits were not made.",)


def test_cancelled_work_keeps_what_was_done() -> None:
    with pytest.raises(reml.RepeatCancelled) as stopped:
        run_all(abs, [-1, -2, -3], on_done=lambda place, _: place < 1)
    assert stopped.value.results == {0: 1, 1: 2}
    assert pickle.loads(pickle.dumps(stopped.value)).results == {0: 1, 1: 2}


def test_a_fit_travels_as_it_is_saved() -> None:
    fit = reml.fit(FORMULA, trials(1))
    packed = pickle.dumps(KeptFit(fit))
    assert b"PK" in packed and b"torch" not in packed
    arrived = pickle.loads(packed)
    same(pickle.loads(pickle.dumps(arrived)).fit, fit)
    same(arrived.fit, fit)


# -- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "arguments", "words"),
    [
        (FORMULA, {}, "one fit"),
        (FORMULA, {"by": "trail"}, "trail"),
        (FORMULA, {"by": ["trial", "trial"]}, "twice"),
        (FORMULA, {"by": [1]}, "does not name columns"),
        (FORMULA, {"responses": ["y"]}, "response of its own"),
        ("~ rep + (1 | gen)", {"responses": "y"}, "no list"),
        ("~ rep + (1 | gen)", {"responses": []}, "no list"),
        ("~ rep + (1 | gen)", {"responses": ["y", "y"]}, "twice"),
        ("~ rep + (1 | gen)", {"responses": ["y", "hieght"]}, "hieght"),
        ("~ rep + (1 | gen)", {"by": "trial"}, "no response"),
        ("y ~ rep + (1 | gene)", {"by": "trial"}, "gene"),
        ("y ~ rep + (1 | gen", {"by": "trial"}, "parenthesis"),
        (FORMULA, {"by": "trial", "metod": "ml"}, "method"),
        (FORMULA, {"by": "trial", "method": "bayes"}, "bayes"),
        (FORMULA, {"by": "trial", "on_iteration": print}, "on_fit"),
        (FORMULA, {"by": "trial", "executor": 3}, "executor"),
    ],
)
def test_mistakes_in_all_fits_are_told_at_once(formula: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(reml.ModelError, match=words):
        reml.fit_many(formula, trials(2), **arguments)


def test_groups_without_a_value() -> None:
    with pytest.raises(reml.DataError, match="No row has a value of trial"):
        reml.fit_many(FORMULA, trials(2).assign(trial=np.nan), by="trial")

"""Parameters held and tied: against a dense likelihood written here, and against models that say the same otherwise."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

import openreml_core as reml

ALPHA = "yield ~ rep + (1 | gen) + (1 | rep:block)"
TRIAL = "ar1(row):ar1(col)"
TRIALS = f"dsum({TRIAL} | site)"


@pytest.fixture(scope="module")
def alpha() -> pd.DataFrame:
    return reml.load_sample("john_alpha")


@pytest.fixture(scope="module")
def trials() -> pd.DataFrame:
    """Two sites of 6 x 8 plots, 12 lines in 4 replicates, the same serial correlation in both."""
    rng = np.random.default_rng(11)
    rows, cols = np.arange(6), np.arange(8)
    cov = np.kron(0.3 ** np.abs(np.subtract.outer(rows, rows)), 0.6 ** np.abs(np.subtract.outer(cols, cols)))
    frames = []
    lines = rng.normal(size=(2, 12))
    for s, site in enumerate("AB"):
        e = np.linalg.cholesky(cov) @ rng.normal(size=48)
        gen = np.concatenate([rng.permutation(12) for _ in range(4)])
        frames.append(
            pd.DataFrame(
                {
                    "site": site,
                    "row": np.repeat(rows, 8),
                    "col": np.tile(cols, 6),
                    "gen": [f"g{g:02d}" for g in gen],
                    "y": 10 + s + lines[s, gen] + e,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def indicators(column: pd.Series) -> np.ndarray:
    return (column.astype(str).to_numpy()[:, None] == np.unique(column.astype(str))[None, :]).astype(float)


def dense(y, x, parts):
    """-2 l_R, and P, at V = sum of the parts."""
    v = sum(parts)
    vi = np.linalg.inv(v)
    xvx = x.T @ vi @ x
    p = vi - vi @ x @ np.linalg.solve(xvx, x.T @ vi)
    value = np.linalg.slogdet(v)[1] + np.linalg.slogdet(xvx)[1] + y @ p @ y + (len(y) - x.shape[1]) * np.log(2 * np.pi)
    return value, p


def alpha_matrices(alpha):
    y = alpha["yield"].to_numpy()
    x = indicators(alpha["rep"])
    gen, block = (indicators(c) for c in (alpha["gen"], alpha["rep"].astype(str) + alpha["block"].astype(str)))
    return y, x, gen @ gen.T, block @ block.T, np.eye(len(y))


def minimum(function, start):
    """The least value over log variances, and where."""
    found = minimize(
        lambda t: function(np.exp(t)), np.log(start), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-11}
    )
    return found.fun, np.exp(found.x)


@pytest.mark.parametrize(
    ("ties", "share"),
    [
        ({"rep:block.variance": "gen.variance"}, lambda g, b, e: (g + b, e)),
        ({"rep:block": "0.25 * gen"}, lambda g, b, e: (g + 0.25 * b, e)),
        ({"rep:block.variance": "0.5 * residual.variance"}, lambda g, b, e: (g, e + 0.5 * b)),
        ({"residual": "2 * gen"}, lambda g, b, e: (g + 2 * e, b)),
    ],
)
def test_two_variances_in_a_ratio(alpha, ties, share):
    y, x, *matrices = alpha_matrices(alpha)
    parts = share(*matrices)
    value, at = minimum(lambda s: dense(y, x, [c * m for c, m in zip(s, parts, strict=True)])[0], [0.1, 0.1])
    _, p = dense(y, x, [c * m for c, m in zip(at, parts, strict=True)])
    f = np.column_stack([m @ p @ y for m in parts])
    errors = np.sqrt(np.diag(np.linalg.inv(f.T @ p @ f / 2)))
    fit = reml.fit(ALPHA, alpha, ties=ties)
    # The constant of X's coding: indicators of 3 replicates here, treatment contrasts there, determinant 1.
    assert fit.criterion == pytest.approx(value, abs=1e-7)
    assert fit.n_parameters == 3 + 2
    table = fit.variance_components().set_index("group")
    tied = table["bound"].str.startswith("tied to")
    assert tied.sum() == 1
    np.testing.assert_allclose(table.loc[~tied, "estimate"], at, rtol=1e-4)
    np.testing.assert_allclose(table.loc[~tied, "std_error"], errors, rtol=1e-4)
    ratio = table.loc[tied, "estimate"].iloc[0] / table.loc[~tied, "estimate"]
    ratio_se = table.loc[tied, "std_error"].iloc[0] / table.loc[~tied, "std_error"]
    assert np.isclose(ratio, ratio_se, rtol=1e-12).any()


def test_chains_end_where_they_lead(alpha):
    chained = reml.fit(ALPHA, alpha, ties={"gen": "2 * rep:block", "rep:block": "0.5 * residual"})
    assert chained.parameters["gen.variance"] == pytest.approx(chained.parameters["residual.variance"], rel=1e-12)
    assert chained.n_parameters == 3 + 1
    components = chained.variance_components()
    assert components["bound"].tolist() == ["tied to residual.variance", "tied to 0.5 * residual.variance", ""]
    y, x, g, b, e = alpha_matrices(alpha)
    value, at = minimum(lambda s: dense(y, x, [s[0] * (g + 0.5 * b + e)])[0], [0.1])
    assert chained.criterion == pytest.approx(value, abs=1e-8)
    assert chained.parameters["residual.variance"] == pytest.approx(at[0], rel=1e-5)


def test_a_tie_to_what_is_held_is_held(alpha):
    tied = reml.fit(ALPHA, alpha, fixed={"gen": 0.2}, ties={"rep:block": "0.5 * gen"})
    held = reml.fit(ALPHA, alpha, fixed={"gen": 0.2, "rep:block": 0.1})
    assert tied.criterion == pytest.approx(held.criterion, abs=1e-9)
    assert tied.n_parameters == held.n_parameters == 3 + 1
    assert tied.variance_components()["bound"].tolist() == ["held", "tied to 0.5 * gen.variance", ""]
    assert tied.variance_components()["std_error"].isna().tolist() == [True, True, False]


def test_equal_variances_are_one_term(trials):
    """diag over sites with its variances tied is a variance of the site by line effects; Satterthwaite's df agree too."""
    diag = reml.fit("y ~ site + diag(0 + site | gen)", trials, ties={"gen.variance(site[B])": "gen.variance(site[A])"})
    one = reml.fit("y ~ site + (1 | site:gen)", trials)
    assert diag.criterion == pytest.approx(one.criterion, abs=1e-8)
    assert diag.n_parameters == one.n_parameters
    mine, its = diag.variance_components(), one.variance_components()
    np.testing.assert_allclose(mine["estimate"].iloc[[0, 2]], its["estimate"], rtol=1e-6)
    np.testing.assert_allclose(mine["std_error"].iloc[[1, 2]], its["std_error"], rtol=1e-6)
    np.testing.assert_allclose(diag.fixed_effects()["df"], one.fixed_effects()["df"], rtol=1e-5)
    np.testing.assert_allclose(diag.fixed_effects()["std_error"], one.fixed_effects()["std_error"], rtol=1e-6)


def test_sections_tied_whole_are_blocks_of_one_structure(trials):
    whole = reml.fit("y ~ site", trials, residual=f"dsum({TRIAL} | site)", ties={"residual[B]": "residual[A]"})
    shared = reml.fit("y ~ site", trials, residual=f"id(site):{TRIAL}")
    assert whole.criterion == pytest.approx(shared.criterion, abs=1e-8)
    assert whole.n_parameters == shared.n_parameters == 2 + 3
    np.testing.assert_allclose(
        whole.variance_components()["std_error"].iloc[:3], shared.variance_components()["std_error"], rtol=1e-5
    )


def test_one_correlation_between_sections(trials):
    """The correlations along rows equal, the rest each section's own: between the free fit and the wholly tied one."""
    section = dict.fromkeys("AB", "residual[{}].ar1(row).rho")
    a, b = (text.format(site) for site, text in section.items())
    residual = f"dsum({TRIAL} | site)"
    free = reml.fit("y ~ site", trials, residual=residual)
    tied = reml.fit("y ~ site", trials, residual=residual, ties={b: a})
    whole = reml.fit("y ~ site", trials, residual=residual, ties={"residual[B]": "residual[A]"})
    assert free.criterion < tied.criterion < whole.criterion
    assert tied.parameters[a] == tied.parameters[b]
    estimates = tied.parameters
    # At the estimates the likelihood is flat along the tie: the profile over rho by fits that hold both.
    step = 0.02
    beside = [
        reml.fit("y ~ site", trials, residual=residual, fixed={a: estimates[a] + h, b: estimates[a] + h}).criterion
        for h in (-step, step)
    ]
    assert min(beside) > tied.criterion
    bend = (beside[0] + beside[1] - 2 * tied.criterion) / step**2 / 2
    assert tied.variance_components()["std_error"].iloc[1] == pytest.approx(bend**-0.5, rel=0.15)


def test_a_ratio_of_correlations_keeps_both_inside(trials):
    residual = f"dsum({TRIAL} | site)"
    ties = {"residual[B].ar1(col).rho": "3 * residual[A].ar1(col).rho"}
    fit = reml.fit("y ~ site", trials, residual=residual, ties=ties)
    rows = fit.trace.filter(like="ar1(col).rho")
    assert (rows.abs() < 1).all().all()
    np.testing.assert_allclose(rows.iloc[:, 1], 3 * rows.iloc[:, 0], rtol=1e-12)
    turned = reml.fit("y ~ site", trials, residual=residual, ties={k: v.replace("3", "-1") for k, v in ties.items()})
    a, b = turned.parameters["residual[A].ar1(col).rho"], turned.parameters["residual[B].ar1(col).rho"]
    assert a == -b


def test_a_ratio_beyond_the_default_start_is_begun_within_it(trials):
    fit = reml.fit(
        "y ~ site", trials, residual=TRIALS, ties={"residual[B].ar1(col).rho": "5 * residual[A].ar1(col).rho"}
    )
    assert fit.converged and abs(fit.parameters["residual[B].ar1(col).rho"]) < 1


def test_a_bound_met_by_the_one_who_follows_is_said_of_the_leader(trials):
    """In B all plots of a row yield the same: its correlation goes to 1, and 1.3 times A's must."""
    rng = np.random.default_rng(2)
    stripes = trials.assign(y=trials["y"].where(trials["site"] == "A", 0.0))
    stripes.loc[stripes["site"] == "B", "y"] = np.repeat(rng.normal(size=6), 8) + 1e-4 * rng.normal(size=48)
    tie = {"residual[B].ar1(col).rho": "1.3 * residual[A].ar1(col).rho"}
    fit = reml.fit("y ~ site", stripes, residual=TRIALS, ties=tie)
    table = fit.variance_components().set_index(["group", "name1"])
    assert table.loc[("residual[A]", "ar1(col).rho"), "bound"] == "at its bound"
    assert table.loc[("residual[B]", "ar1(col).rho"), "bound"].startswith("tied to 1.3 *")
    assert fit.parameters["residual[A].ar1(col).rho"] == pytest.approx(1 / 1.3, rel=1e-3)
    assert any("at the end of its range" in sentence for sentence in fit.warnings)


def test_an_unstructured_matrix_tied_whole(trials):
    """Lines and rows with one covariance matrix between the sites, against the dense likelihood."""
    fit = reml.fit("y ~ site + us(0 + site | gen) + us(0 + site | row)", trials, ties={"row": "0.5 * gen"})
    y, x, site = trials["y"].to_numpy(), indicators(trials["site"]), indicators(trials["site"])
    same = [z @ z.T for z in (indicators(trials["gen"]), indicators(trials["row"]))]

    def criterion(t):
        low = np.array([[t[0], 0], [t[1], t[2]]])
        spread = site @ (low @ low.T) @ site.T
        return dense(y, x, [spread * (same[0] + 0.5 * same[1]), t[3] ** 2 * np.eye(len(y))])[0]

    found = minimize(criterion, [1.0, 0.0, 1.0, 1.0], method="Nelder-Mead", options={"maxiter": 4000, "fatol": 1e-9})
    assert fit.criterion == pytest.approx(found.fun, abs=1e-5)
    np.testing.assert_allclose(fit.variance_matrix("row"), 0.5 * fit.variance_matrix("gen"), rtol=1e-10)
    assert fit.n_parameters == 2 + 4


# -- held ---------------------------------------------------------------------------------------------------------


def test_correlations_held_at_zero_are_none(trials):
    held = reml.fit("y ~ site + (1 | gen)", trials, residual=f"id(site):{TRIAL}",
                    fixed={"residual.ar1(row).rho": 0, "residual.ar1(col).rho": 0.0})  # fmt: skip
    plain = reml.fit("y ~ site + (1 | gen)", trials)
    assert held.criterion == pytest.approx(plain.criterion, abs=1e-8)
    assert held.n_parameters == plain.n_parameters
    one = reml.fit("y ~ site + (1 | gen)", trials, residual=f"id(site):{TRIAL}", fixed={"residual.ar1(row).rho": 0})
    other = reml.fit("y ~ site + (1 | gen)", trials.assign(line=trials["site"] + trials["row"].astype(str)),
                     residual="id(line):ar1(col)")  # fmt: skip
    assert one.criterion == pytest.approx(other.criterion, abs=1e-7)
    assert one.variance_components()["bound"].tolist() == ["", "", "held", ""]


@pytest.mark.parametrize(
    "term", ["diag(0 + site | gen)", "csh(0 + site | gen)", "cs(0 + site | gen)", "arh1(0 + site | gen)",
             "fa(0 + site | gen, k=1)", "rr(0 + site | gen, k=1)", "ante(0 + site | gen, k=1)"],
)  # fmt: skip
def test_every_parameter_that_stands_alone_can_be_held(trials, term):
    """At its estimate it changes nothing; elsewhere it costs likelihood and stays where it is."""
    formula = f"y ~ site + {term}"
    free = reml.fit(formula, trials)
    for name, value in free.parameters.items():
        # fa of two levels has a parameter too many: another solution may hold it.
        same = reml.fit(formula, trials, fixed={name: value})
        assert same.criterion == pytest.approx(free.criterion, abs=1e-5), name
        assert same.n_parameters == free.n_parameters - 1
        other = 0.8 * value + (0.05 if value == 0 else 0.0)
        held = reml.fit(formula, trials, fixed={name: other})
        assert held.converged, held.message
        assert held.parameters[name] == pytest.approx(other, rel=1e-12)
        assert held.criterion > free.criterion - 1e-6


def test_single_starting_values(trials):
    residual = f"id(site):{TRIAL}"
    fit = reml.fit("y ~ site", trials, residual=residual, start={"residual.ar1(row).rho": 0.55})
    plain = reml.fit("y ~ site", trials, residual=residual)
    first = fit.trace.iloc[0]
    assert first["residual.ar1(row).rho"] == pytest.approx(0.55)
    assert first["residual.ar1(col).rho"] == pytest.approx(plain.trace.iloc[0]["residual.ar1(col).rho"])
    assert first["sentence"] == "Starting values as given."
    assert fit.criterion == pytest.approx(plain.criterion, abs=1e-7)


# -- what keeps them ----------------------------------------------------------------------------------------------


def test_files_code_and_shell_keep_them(alpha, tmp_path, capsys):
    fit = reml.fit(ALPHA, alpha, fixed={"gen.variance": 0.2}, ties={"rep:block.variance": "0.5 * residual.variance"})
    file = io.BytesIO()
    fit.save(file)
    file.seek(0)
    again = reml.load(file)
    pd.testing.assert_frame_equal(again.variance_components(), fit.variance_components())
    assert again.n_parameters == fit.n_parameters == 3 + 1
    code = fit.to_code()
    assert "ties={'rep:block.variance': '0.5 * residual.variance'}" in code
    with pytest.raises(reml.ModelError, match="tie it to another"):
        fit.to_code("r-lme4")
    text = fit.summary()
    assert "tied to 0.5 * residual.variance" in text and "held" in text

    from openreml_core.cli import main

    alpha.to_csv(tmp_path / "alpha.csv", index=False)
    options = ["--fix", "gen.variance=0.2", "--tie", "rep:block.variance = 0.5 * residual.variance", "--quiet"]
    assert main(["fit", str(tmp_path / "alpha.csv"), ALPHA, "--factor", "rep,block", *options]) == 0
    assert "tied to 0.5 * residual.variance" in capsys.readouterr().out


def test_a_file_whose_estimates_break_their_tie_is_damaged(alpha, monkeypatch):
    fit = reml.fit(ALPHA, alpha, ties={"rep:block": "gen"})
    fit.specification.ties["rep:block"] = "2 * gen"
    file = io.BytesIO()
    fit.save(file)
    file.seek(0)
    with pytest.raises(reml.DataError, match="held and tied"):
        reml.load(file)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ties": {"gne": "rep:block"}}, r"\*gne\*.*Did you mean \*gen\*"),
        ({"ties": {"gen": "2 * blck"}}, r"\*blck\*"),
        ({"ties": {"gen": "gen.variance"}}, "to itself"),
        ({"ties": {"gen": "rep:block", "rep:block": "gen"}}, "circle: .*gen.variance"),
        ({"ties": {"gen": "rep:block", "gen.variance": "residual"}}, "twice"),
        ({"ties": {"gen": "-2 * rep:block"}}, "ratio -2"),
        ({"ties": {"gen": "0 * rep:block"}}, r"ratio 0.*fixed"),
        ({"ties": {"gen": 3}}, "names no parameter"),
        ({"ties": ["gen", "rep:block"]}, "which parameter follows which"),
        ({"ties": {"gen": "rep:block"}, "fixed": {"gen": 1.0}}, r"fixed gives \*gen.variance\*, which is tied"),
        ({"ties": {"gen": "rep:block"}, "start": {"gen": 1.0}}, r"start gives \*gen.variance\*, which is tied"),
        ({"ties": {"gen": "rep:block"}, "algorithm": "em"}, "EM"),
        ({"fixed": {"gen": 1.0, "gen.variance": 1.0}}, "twice"),
        ({"fixed": {"gen.variance": -1.0}}, "negative"),
    ],
)
def test_what_cannot_be_is_said(alpha, options, said):
    with pytest.raises(reml.ModelError, match=said):
        reml.fit(ALPHA, alpha, **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ties": {"gen.variance(site[A])": "residual.ar1(row).rho"}}, "cannot be tied alone"),
        ({"ties": {"residual.variance": "residual.ar1(row).rho"}}, "a variance, to .* a correlation"),
        ({"ties": {"gen": "residual.variance"}}, "3 parameters and cannot be tied to one"),
        ({"ties": {"gen.variance(site[B])": "gen.variance(site[A])"}}, "cannot be tied alone.*diag"),
        ({"ties": {"gen": "residual"}}, "do not have the same structure"),
        ({"fixed": {"gen.variance(site[B])": 1.0}}, "1 of the 3 parameters of .*diag"),
        ({"start": {"gen.covariance(site[A], site[B])": 1.0}}, "1 of the 3 parameters of .*diag"),
        ({"fixed": {"residual.ar1(row).rho": 1.5}}, "between -1 and 1"),
        (
            {
                "fixed": {"residual.ar1(row).rho": 0.9},
                "ties": {"residual.ar1(col).rho": "2 * residual.ar1(row).rho"},
            },
            "out of bounds",
        ),
    ],
)
def test_what_structures_cannot_is_said(trials, options, said):
    with pytest.raises(reml.ModelError, match=said):
        reml.fit("y ~ site + us(0 + site | gen)", trials, residual=f"id(site):{TRIAL}", **options)

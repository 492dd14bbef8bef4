"""How often 95 % intervals of a treatment difference and of a standard deviation hold the truth, in small trials.

Two designs in which quantiles of the normal distribution are too narrow by theory, since t has three or four degrees of freedom:

    farms        two varieties side by side on five farms, one plot lost; sd within farms
    split plot   two irrigations on whole plots in four blocks, four rows each, a tenth of the rows lost; sd of whole plots

A line per method: coverage, whether it is within Monte-Carlo error (two-sided, 95 %) of nominal, the intervals' median width. A
data set for which a method gives no interval (Wald, where the variance is estimated as zero) counts as one that it misses. The
tests of a table, which take no time, are asked of ten times as many data sets.

    python tests/benchmarks/coverage.py [data sets, 200] [bootstrap replicates, 500] [only designs with this in their names]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

import openreml_core as reml
from openreml_core.simulation import Bootstrap

LEVEL = 0.95
#: Of the difference and of the residual's standard deviation.
DIFFERENCE, SIGMA = 1.0, 1.0


def farms(rng: np.random.Generator) -> pd.DataFrame:
    """Two varieties on five farms, which differ twice as much as plots; the new one is lost on the first farm."""
    farm, new = np.repeat(np.arange(5), 2), np.tile([0, 1], 5)
    y = 2 * SIGMA * rng.normal(size=5)[farm] + SIGMA * rng.normal(size=10) + DIFFERENCE * new
    return _table(y, new, farm=farm).drop(index=1)


def split_plot(rng: np.random.Generator) -> pd.DataFrame:
    """Two irrigations on whole plots in four blocks; whole plots differ half as much again as rows; a tenth of these lost."""
    block, new = np.repeat(np.arange(4), 8), np.tile(np.repeat([0, 1], 4), 4)
    y = 1.5 * SIGMA * (rng.normal(size=4)[block] + rng.normal(size=(4, 2))[block, new])
    y += SIGMA * rng.normal(size=32) + DIFFERENCE * new
    return _table(y, new, block=block, plot=new).drop(index=[2, 13, 30])


def _table(y: np.ndarray, new: np.ndarray, **factors: np.ndarray) -> pd.DataFrame:
    treatment = pd.Categorical(np.where(new == 1, "new", "control"), ["control", "new"])
    return pd.DataFrame({"y": y, "treatment": treatment} | {name: k.astype(str) for name, k in factors.items()})


@dataclass(frozen=True)
class Design:
    """A trial, its model, and the standard deviation that intervals are of besides the difference."""

    draw: Callable[[np.random.Generator], pd.DataFrame]
    formula: str
    deviation: str
    truth: float
    words: str


DESIGNS = {
    "farms": Design(farms, "y ~ treatment + (1 | farm)", "sigma", SIGMA, "sd within farms"),
    "split plot": Design(
        split_plot, "y ~ treatment + (1 | block/plot)", "sd_(Intercept)|block:plot", 1.5 * SIGMA, "sd of whole plots"
    ),
}

#: Methods that are asked of MORE times as many data sets.
QUICK, MORE = ("Wald z", "Satterthwaite t", "Kenward-Roger t"), 10

Interval = Callable[[reml.MixedModelFit, int], "tuple[float, float]"]


def of_table(row: str, method: str, **options: object) -> Interval:
    def interval(fit: reml.MixedModelFit, seed: int) -> tuple[float, float]:
        if method == "bootstrap":
            table = drawn(fit, seed).confint(LEVEL, str(options["kind"])).loc[[row]]
        else:
            table = fit.confint(method, LEVEL, parameters=row, n_boot=replicates(), seed=seed, **options)
        return float(table["lower"].item()), float(table["upper"].item())

    return interval


@lru_cache(maxsize=1)
def drawn(fit: reml.MixedModelFit, seed: int) -> Bootstrap:
    """The replicates of a fit, drawn once for all its intervals."""
    return fit.bootstrap(replicates(), seed)


def replicates() -> int:
    return int(sys.argv[2]) if len(sys.argv) > 2 else 500


def methods(design: Design) -> dict[str, tuple[float, Interval]]:
    """The intervals of a design by name, each with the truth that it is to hold."""
    b, sd = "treatment[T.new]", design.deviation
    bootstrap = {f"bootstrap, {kind}": kind for kind in ("percentile", "bca", "studentized")}
    difference = {
        "Wald z": of_table(b, "wald"),
        "Satterthwaite t": of_table(b, "wald", ddf="satterthwaite"),
        "Kenward-Roger t": of_table(b, "wald", ddf="kenward-roger"),
        "profile (ML)": of_table(b, "profile"),
        "profile, calibrated": of_table(b, "profile", calibrate=True),
    } | {name: of_table(b, "bootstrap", kind=kind) for name, kind in bootstrap.items()}
    deviation = {
        "Wald z": of_table(sd, "wald"),
        "profile (ML)": of_table(sd, "profile"),
        "profile (REML)": of_table(sd, "profile", likelihood="reml"),
    } | {name: of_table(sd, "bootstrap", kind=kind) for name, kind in bootstrap.items()}
    return {f"difference: {name}": (DIFFERENCE, interval) for name, interval in difference.items()} | {
        f"{design.words}: {name}": (design.truth, interval) for name, interval in deviation.items()
    }


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    only = sys.argv[3] if len(sys.argv) > 3 else ""
    print(f"{count} data sets ({MORE * count} for {', '.join(QUICK)}), {replicates()} replicates; nominal {LEVEL}")
    for name, design in DESIGNS.items():
        if only not in name:
            continue
        rng = np.random.default_rng(2026)
        asked = methods(design)
        found: dict[str, list[tuple[float, float]]] = {what: [] for what in asked}
        for place in range(MORE * count):
            fit = reml.fit(design.formula, design.draw(rng))
            for what, (_, interval) in asked.items():
                if place < count or what.endswith(QUICK):
                    found[what].append(interval(fit, place))
            print(f"{name}: {place + 1} of {MORE * count}", file=sys.stderr, end="\r")
        print(f"\n{name}: {design.draw(rng).shape[0]} rows, {design.formula}")
        for what, (truth, _) in asked.items():
            low, high = np.array(found[what]).T
            error = 1.96 * np.sqrt(LEVEL * (1 - LEVEL) / len(low))
            share = np.mean((low <= truth) & (truth <= high))
            verdict = "within" if abs(share - LEVEL) <= error else "too narrow" if share < LEVEL else "too wide"
            none = f", none for {np.isnan(low).sum()}" if np.isnan(low).any() else ""
            width = np.nanmedian(high - low)
            print(f"  {what:46s} {share:.3f} +- {error:.3f}  {verdict:10s}  width {width:5.2f}{none}", flush=True)


if __name__ == "__main__":
    main()

"""How often 95 % intervals of a treatment difference and of a variance hold the truth, in small trials.

Data sets are drawn from a model of few blocks, in which nominal and true coverage part: Wald-z, Satterthwaite, Kenward-Roger
where it is there, profile (ML, and REML for the standard deviations) and the parametric bootstrap. A line per method:
coverage, its Monte-Carlo error, the intervals' median width.

    python tests/benchmarks/coverage.py [data sets, 200] [bootstrap replicates, 500] [only methods with this in their names]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pandas as pd

import openreml_core as reml
from openreml_core.simulation import Bootstrap

BLOCKS, PLOTS, ROWS = 8, 2, 2
#: Residual, whole plot and block standard deviations; the difference between the treatments.
SIGMA, PLOT, BLOCK, DIFFERENCE = 1.0, 1.0, 1.0, 0.8
FORMULA = "y ~ treatment + (1 | block) + (1 | block:plot)"
LEVEL = 0.95


def trial(rng: np.random.Generator) -> pd.DataFrame:
    """A split plot: two treatments on whole plots in few blocks, two rows each, a fifth of them missing."""
    block = np.repeat(np.arange(BLOCKS), PLOTS * ROWS)
    plot = np.tile(np.repeat(np.arange(PLOTS), ROWS), BLOCKS)
    y = SIGMA * rng.normal(size=len(block)) + BLOCK * rng.normal(size=BLOCKS)[block]
    y += PLOT * rng.normal(size=(BLOCKS, PLOTS))[block, plot] + DIFFERENCE * plot
    table = pd.DataFrame({"y": y, "block": block.astype(str), "plot": plot.astype(str)})
    table["treatment"] = np.where(plot == 1, "new", "control")
    kept = np.ones(len(table), dtype=bool)
    kept[::5] = False
    return (
        table[kept]
        .reset_index(drop=True)
        .assign(treatment=lambda t: pd.Categorical(t["treatment"], ["control", "new"]))
    )


Interval = Callable[[reml.MixedModelFit, int], "tuple[float, float]"]


def of_table(row: str, method: str, **options: object) -> Interval:
    def interval(fit: reml.MixedModelFit, seed: int) -> tuple[float, float]:
        if method == "bootstrap":
            table = drawn(fit, seed).confint(LEVEL, str(options.get("kind", "percentile"))).loc[[row]]
        else:
            table = fit.confint(method, LEVEL, parameters=row, **options)
        return float(table["lower"].item()), float(table["upper"].item())

    return interval


@lru_cache(maxsize=1)
def drawn(fit: reml.MixedModelFit, seed: int) -> Bootstrap:
    """The replicates of a fit, drawn once for all its intervals."""
    return fit.bootstrap(replicates(), seed)


def of_coefficients(ddf: str) -> Interval:
    def interval(fit: reml.MixedModelFit, seed: int) -> tuple[float, float]:
        row = fit.fixed_effects(ddf=ddf, level=LEVEL).iloc[1]
        return float(row["lower"]), float(row["upper"])

    return interval


def replicates() -> int:
    return int(sys.argv[2]) if len(sys.argv) > 2 else 500


B, SD = "treatment[T.new]", "sigma"
METHODS: dict[str, tuple[float, Interval]] = {
    "difference, Wald z": (DIFFERENCE, of_table(B, "wald")),
    "difference, Satterthwaite t": (DIFFERENCE, of_coefficients("satterthwaite")),
    "difference, Kenward-Roger t": (DIFFERENCE, of_coefficients("kenward-roger")),
    "difference, profile (ML)": (DIFFERENCE, of_table(B, "profile")),
    "difference, bootstrap percentile": (DIFFERENCE, of_table(B, "bootstrap")),
    "difference, bootstrap bca": (DIFFERENCE, of_table(B, "bootstrap", kind="bca")),
    "sigma, Wald": (SIGMA, of_table(SD, "wald")),
    "sigma, profile (ML)": (SIGMA, of_table(SD, "profile")),
    "sigma, profile (REML)": (SIGMA, of_table(SD, "profile", likelihood="reml")),
    "sigma, bootstrap percentile": (SIGMA, of_table(SD, "bootstrap")),
    "sigma, bootstrap bca": (SIGMA, of_table(SD, "bootstrap", kind="bca")),
    "sd of blocks, profile (REML)": (BLOCK, of_table("sd_(Intercept)|block", "profile", likelihood="reml")),
    "sd of blocks, profile (ML)": (BLOCK, of_table("sd_(Intercept)|block", "profile")),
    "sd of blocks, bootstrap percentile": (BLOCK, of_table("sd_(Intercept)|block", "bootstrap")),
    "sd of blocks, bootstrap bca": (BLOCK, of_table("sd_(Intercept)|block", "bootstrap", kind="bca")),
}


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    only = sys.argv[3] if len(sys.argv) > 3 else ""
    methods = {name: method for name, method in METHODS.items() if only in name}
    rng = np.random.default_rng(2026)
    held: dict[str, list[bool]] = {name: [] for name in methods}
    widths: dict[str, list[float]] = {name: [] for name in methods}
    for place in range(count):
        fit = reml.fit(FORMULA, trial(rng))
        for name, (truth, interval) in methods.items():
            try:
                low, high = interval(fit, place)
            except reml.ModelError:
                continue  # a method that is not there
            held[name].append(low <= truth <= high)
            widths[name].append(high - low)
        print(f"{place + 1} of {count}", file=sys.stderr, end="\r")
    print(
        f"{count} data sets of {len(trial(rng))} rows, {BLOCKS} blocks; nominal {LEVEL:.0%}; {replicates()} replicates"
    )
    for name, hits in held.items():
        if not hits:
            print(f"{name:38s} not available")
            continue
        share = np.mean(hits)
        error = np.sqrt(LEVEL * (1 - LEVEL) / len(hits))
        print(f"{name:38s} {share:6.3f} +- {error:.3f}   width {np.median(widths[name]):6.2f}   n {len(hits)}")


if __name__ == "__main__":
    main()

"""How long the influence of every row of InstEval takes: ``python tests/benchmarks/influence.py``.

73,421 ratings of 1,128 lecturers by 2,972 students: leverage, Cook's distance, MDFFITS, COVTRACE and COVRATIO of every row at
the variances as estimated. Prints seconds and peak memory, of the process whole and of the influence alone, beside the bars;
exits with 1 where one is missed. A few rows are checked against fits without them at the same variances.
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np

import openreml_core as reml
from tests.benchmarks.peer_data import insteval

FORMULA = "y ~ service + (1 | s) + (1 | d) + (1 | dept:service)"
SECONDS, GIGABYTES = 10.0, 2.0
#: Rows that are left out one by one, by a fit each.
CHECKED = (0, 40_000)


def peak() -> float:
    """The most memory that the process has held, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def main() -> int:
    data = insteval()
    began = time.perf_counter()
    fit = reml.fit(FORMULA, data)
    fitted, before = time.perf_counter() - began, peak()
    began = time.perf_counter()
    table = fit.influence()
    seconds, after = time.perf_counter() - began, peak()
    print(f"{fit.n_obs:,} rows, engine {fit.engine}: fit {fitted:.1f} s, peak {before:.2f} GB")
    print(f"influence of every row: {seconds:.2f} s (bar {SECONDS:g}), peak {after:.2f} GB (bar {GIGABYTES:g})")
    b, c = fit.fixed_effects(ddf="normal")["estimate"].to_numpy(), fit.fixed_covariance.to_numpy()
    worst = 0.0
    for row in CHECKED:
        other = reml.fit(FORMULA, data, exclude=[row], fixed=fit.parameters)
        d = b - other.fixed_effects(ddf="normal")["estimate"].to_numpy()
        cook = d @ np.linalg.solve(c, d) / len(b)
        worst = max(worst, abs(table["cooks_distance"].iloc[row] / cook - 1))
    print(f"Cook's distance against {len(CHECKED)} fits without a row at the same variances: {worst:.1e} relative")
    return int(seconds > SECONDS or after > GIGABYTES or worst > 1e-4 or not table.notna().all(axis=None))


if __name__ == "__main__":
    sys.exit(main())

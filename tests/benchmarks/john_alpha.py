"""How long the alpha design takes to fit: ``python tests/benchmarks/john_alpha.py [--repeats 20]``.

Prints a table, with lme4 beside it where Rscript and lme4 are found. Exits with 1 if the median is 50 ms or more.
Times are those of a warm process: imports and the first fit are counted apart.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "sample_data" / "john_alpha.csv"
FORMULA = "yield ~ rep + (1 | gen) + (1 | rep:block)"
BAR = 50.0  # ms

LME4 = """
suppressPackageStartupMessages(library(lme4))
args <- commandArgs(trailingOnly = TRUE)
d <- read.csv(args[1], stringsAsFactors = TRUE)
f <- as.formula(args[2])
m <- lmer(f, d)
ms <- replicate(as.integer(args[3]), system.time(lmer(f, d), gcFirst = FALSE)[["elapsed"]] * 1000)
cat(REMLcrit(m), ms)
"""


def milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def lme4(repeats: int) -> tuple[float, list[float]] | None:
    """lme4's criterion and times, or None where it is not installed."""
    rscript = shutil.which("Rscript")
    if rscript is None:
        return None
    command = [rscript, "-e", LME4, str(DATA), FORMULA, str(repeats)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        return None
    criterion, *times = map(float, run.stdout.split())
    return criterion, times


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args().repeats

    start = time.perf_counter()
    import openreml_core as reml

    imported = 1000 * (time.perf_counter() - start)
    data = reml.read_table(DATA)
    first = milliseconds(lambda: reml.fit(FORMULA, data))
    times = [milliseconds(lambda: reml.fit(FORMULA, data)) for _ in range(repeats)]
    fit = reml.fit(FORMULA, data)

    rows = [("openreml", fit.criterion, times)]
    other = lme4(repeats)
    if other is not None:
        rows.append(("lme4", *other))
    print(f"john_alpha, {FORMULA}\n")
    print(f"{'':10s} {'criterion':>14s} {'median ms':>10s} {'min':>8s} {'max':>8s}")
    for name, criterion, ms in rows:
        print(f"{name:10s} {criterion:14.6f} {statistics.median(ms):10.1f} {min(ms):8.1f} {max(ms):8.1f}")
    iterations = fit.trace["iteration"].iloc[-1]
    print(f"\nimport {imported:.0f} ms, first fit {first:.0f} ms, {iterations} iterations, {repeats} repeats")
    if other is None:
        print("lme4 was not found; no comparison.")
    return 0 if statistics.median(times) < BAR else 1


if __name__ == "__main__":
    sys.exit(main())

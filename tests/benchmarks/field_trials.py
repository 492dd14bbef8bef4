"""How long structured models take to fit: ``python tests/benchmarks/field_trials.py [--repeats 5]``.

Prints a table of medians in seconds, of a warm process, beside each case's bar. Exits with 1 where a bar is missed. The
published trials are read from ../shared beside the checkout.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import pandas as pd

import openreml_core as reml

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
FIELD = "ar1(row):ar1(col)"


def table(name: str, factors: list[str]) -> pd.DataFrame:
    """A published trial, some columns as factors."""
    types = dict.fromkeys(factors, "str")
    return pd.read_csv(SHARED / f"{name}.csv", keep_default_na=False, na_values=["NA", ""], dtype=types)


def lupin() -> pd.DataFrame:
    """Three sites: checks fixed, test lines random; S3's columns are independent strips."""
    data = table("vsn_lupin3", ["site"])
    line = data["gen"].between(7, 336)
    data["check"] = data["gen"].where(~line, 7).replace(337, 0).astype(str)
    data["test"] = data["gen"].where(line, 0).astype(str)
    separate = data["site"] == "S3"
    data["inS3"] = separate.astype(float)
    data["strip"], data["across"] = data["col"].where(separate, 0), data["col"].where(~separate, 1)
    return data


CASES = {
    "nin, ar1 x ar1 (n 224)": (lambda: table("stroup_nin", ["gen"]), "yield ~ gen", FIELD, 0.3),
    "wheat2, exp + units (n 224)": (
        lambda: table("wheat2", ["variety"]),
        "yield ~ variety",
        "exp(latitude, longitude) + id(units)",
        0.5,
    ),
    "cullis_earlygen, ar1 x ar1 + units (n 668)": (
        lambda: table("cullis_earlygen", ["gen"]),
        "yield ~ weed + col + (1 | gen)",
        f"{FIELD} + id(units)",
        2.0,
    ),
    "vsn_lupin3, us, three sections (n 1,236)": (
        lupin,
        "yield ~ site + check:site + diag(0 + site | col) + (0 + inS3 | row) + us(0 + site | test)",
        "dsum(id(strip):ar1(row):ar1(across) | site)",
        5.0,
    ),
    "besag_met, fa2, ar1 x ar1 per county (n 1,152)": (
        lambda: table("besag_met", ["county", "gen"]),
        "yield ~ county + fa(0 + county | gen, k=2)",
        f"dsum({FIELD} | county)",
        20.0,
    ),
}


def main() -> int:
    """Time every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    if not SHARED.is_dir():
        print("The published trials are not beside this checkout.")
        return 0
    missed = 0
    print(f"{'case':48s} {'median s':>9s} {'bar s':>6s}  iterations  log-likelihood (ASReml's)")
    for name, (read, formula, residual, bar) in CASES.items():
        data = read()
        seconds = []
        for _ in range(repeats + 1):
            began = time.perf_counter()
            fit = reml.fit(formula, data, residual=residual)
            seconds.append(time.perf_counter() - began)
        median = statistics.median(seconds[1:])
        missed += median > bar
        print(f"{name:48s} {median:9.3f} {bar:6.1f}  {len(fit.trace) - 1:10d}  {fit.loglik_asreml:.4f}", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())

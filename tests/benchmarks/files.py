"""How long fits to files take, and how much memory: ``python tests/benchmarks/files.py [--rows 1e4 1e5 1e6 1e7] [--large]``.

Two crossed factors and a covariate, y = 1 + 0.5 x + a + b + e with variances 0.5, 0.3 and 1, in Parquet files of a million
rows at most, made in a temporary folder. Every fit has a process of its own. The first rows of the table have 500 x 50 levels at
every n: set-up should grow as n does, an iteration should not. ``--large`` adds ten million rows over 100,000 x 1,000 levels, for
which the bar is 4 GB; ``--table`` fits the same from a table in memory beside it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

PART = 1_000_000
FORMULA = "y ~ x + (1 | a) + (1 | b)"
BAR = 4.0  # GB


def make(folder: Path, n: int, levels: tuple[int, int], seed: int = 1) -> None:
    """Write the rows: a is text, b whole numbers."""
    rng = np.random.default_rng(seed)
    u = rng.normal(0, 0.5**0.5, levels[0])
    v = rng.normal(0, 0.3**0.5, levels[1])
    names = np.array([f"a{i:06d}" for i in range(levels[0])], dtype=object)
    for start in range(0, n, PART):
        rows = min(PART, n - start)
        a, b, x = rng.integers(levels[0], size=rows), rng.integers(levels[1], size=rows), rng.normal(size=rows)
        y = 1 + 0.5 * x + u[a] + v[b] + rng.normal(size=rows)
        part = pd.DataFrame({"a": names[a], "b": b.astype(np.int32), "x": x, "y": y})
        part.to_parquet(folder / f"part-{start // PART:04d}.parquet", index=False)


def fit(folder: str, table: bool) -> None:
    """Fit the files of a folder and print what it took, as JSON."""
    import openreml_core as reml

    data = pd.concat(map(pd.read_parquet, sorted(Path(folder).glob("*.parquet")))) if table else f"{folder}/*.parquet"
    ticks: list[float] = []
    began = time.perf_counter()
    result = reml.fit(FORMULA, data, engine="henderson", on_iteration=lambda row: ticks.append(time.perf_counter()))
    iteration = (ticks[-1] - ticks[0]) / max(len(ticks) - 1, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(
        json.dumps(
            {
                "n": result.n_obs,
                "setup": ticks[0] - began - iteration,
                "iteration": iteration,
                "iterations": len(ticks) - 1,
                "peak": peak,
                "criterion": result.criterion,
                "parameters": result.parameters,
                "converged": result.converged,
            }
        )
    )


def measure(n: int, levels: tuple[int, int], table: bool = False) -> dict:
    """Make the rows and fit them in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), n, levels)
        command = [sys.executable, __file__, "--fit", folder, *(["--table"] if table else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        return json.loads(done.stdout.splitlines()[-1])


def show(found: dict, what: str) -> None:
    per_million = found["setup"] / found["n"] * 1e6
    print(
        f"{what:<22}{found['n']:>12,}{found['setup']:>10.2f}{per_million:>12.2f}{found['iteration']:>12.3f}"
        f"{found['iterations']:>12}{found['peak']:>9.2f}{found['criterion']:>18.4f}"
        f"   {', '.join(f'{name} {value:.4f}' for name, value in found['parameters'].items())}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="*", type=float, default=[1e4, 1e5, 1e6, 1e7])
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--fit", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.fit:
        fit(asked.fit, asked.table)
        return 0
    print(
        f"{'levels':<22}{'n':>12}{'set-up s':>10}{'s/million':>12}{'s/iteration':>12}{'iterations':>12}{'peak GB':>9}"
        f"{'criterion':>18}"
    )
    for n in asked.rows:
        show(measure(int(n), (500, 50)), "500 x 50")
        if asked.table:
            show(measure(int(n), (500, 50), table=True), "500 x 50, table")
    if not asked.large:
        return 0
    found = measure(10_000_000, (100_000, 1_000))
    show(found, "100,000 x 1,000")
    return 0 if found["converged"] and found["peak"] < BAR else 1


if __name__ == "__main__":
    sys.exit(main())

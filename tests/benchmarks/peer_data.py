"""The tables of the comparison with peers: published ones from ../shared, and simulated ones, the same in every run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"


def sleepstudy() -> pd.DataFrame:
    return pd.read_csv(ROOT / "sample_data" / "sleepstudy.csv", dtype={"Subject": "str"})


def john_alpha() -> pd.DataFrame:
    return pd.read_csv(ROOT / "sample_data" / "john_alpha.csv").rename(columns={"yield": "y"})


def insteval() -> pd.DataFrame:
    return pd.read_csv(SHARED / "insteval.csv", dtype=dict.fromkeys(["s", "d", "dept", "service"], "str"))


def besag_met() -> pd.DataFrame:
    return pd.read_csv(SHARED / "besag_met.csv", dtype={"county": "str", "gen": "str"}).rename(columns={"yield": "y"})


def crossed(rows: int = 100_000, a: int = 5_000, b: int = 1_000) -> pd.DataFrame:
    """Two crossed factors and a covariate."""
    rng = np.random.default_rng(11)
    i, j, x = rng.integers(0, a, rows), rng.integers(0, b, rows), rng.normal(size=rows)
    y = 10 + 0.5 * x + rng.normal(0, 1, a)[i] + rng.normal(0, 0.7, b)[j] + rng.normal(0, 1, rows)
    return pd.DataFrame({"y": y, "x": x, "a": _labels("a", i), "b": _labels("b", j)})


def alpha(plots: int) -> pd.DataFrame:
    """A resolvable design: four replicates, blocks of ten plots, as many genotypes as there is room for."""
    rng = np.random.default_rng(plots)
    genotypes = plots // 4
    gen = np.concatenate([rng.permutation(genotypes) for _ in range(4)])
    rep = np.repeat(np.arange(4), genotypes)
    block = np.tile(np.arange(genotypes) // 10, 4)
    blocks = rng.normal(0, 0.4, (4, genotypes // 10 + 1))
    y = 5 + 0.2 * rep + rng.normal(0, 0.4, genotypes)[gen] + blocks[rep, block] + rng.normal(0, 0.3, plots)
    return pd.DataFrame({"y": y, "rep": _labels("R", rep), "block": _labels("B", block), "gen": _labels("G", gen)})


def environments(count: int = 107, genotypes: int = 850, replicates: int = 4, each: int = 33) -> pd.DataFrame:
    """Trials of 33 of 850 genotypes in 4 replicates at 107 of 27 x 5 sites and years, the residual variance of each its own."""
    rng = np.random.default_rng(7)
    places = rng.permutation(27 * 5)[:count]
    loc, year = places // 5, places % 5
    main, by_loc = rng.normal(0, 0.6, genotypes), rng.normal(0, 0.3, (genotypes, 27))
    by_year, rest = rng.normal(0, 0.25, (genotypes, 5)), rng.normal(0, 0.4, (genotypes, count))
    deviation, mean = np.exp(rng.normal(-0.4, 0.35, count)), rng.normal(6, 1.5, count)
    parts = []
    for e in range(count):
        gen = np.tile(rng.choice(genotypes, each, replace=False), replicates)
        rep = np.repeat(np.arange(replicates), each)
        y = mean[e] + rng.normal(0, 0.2, replicates)[rep] + rng.normal(0, deviation[e], len(gen))
        y += main[gen] + by_loc[gen, loc[e]] + by_year[gen, year[e]] + rest[gen, e]
        labels = {"gen": _labels("G", gen), "loc": f"L{loc[e]}", "year": f"Y{year[e]}"}
        parts.append(pd.DataFrame({"y": y, "env": f"E{e}", "rep": _labels("R", rep), **labels}))
    return pd.concat(parts, ignore_index=True)


def genomic(lines: int = 4_000, markers: int = 6_000) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Lines from 40 crosses, a record each; G = M M' / m from centred markers, blended with 2 % of the identity."""
    rng = np.random.default_rng(3)
    parents = rng.integers(0, 2, (40, 2, markers)) * 2.0
    family = np.arange(lines) % 40
    m = np.where(rng.integers(0, 2, (lines, markers)) == 1, parents[family, 0], parents[family, 1])
    m -= m.mean(axis=0)
    g = 0.98 * (m @ m.T) / (m**2).sum(axis=1).mean() + 0.02 * np.eye(lines)
    u = m @ rng.normal(0, 1, markers)
    y = 100 + u / u.std() + rng.normal(0, 1, lines)
    names = _labels("L", np.arange(lines))
    return pd.DataFrame({"y": y, "gen": names}), {"gen": pd.DataFrame(g, index=names, columns=names)}


def _labels(letter: str, codes: np.ndarray) -> np.ndarray:
    return np.array([f"{letter}{code}" for code in range(codes.max() + 1)], dtype=object)[codes]

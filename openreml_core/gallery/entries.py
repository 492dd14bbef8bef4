"""What each covariance structure is for, in a sentence, in the order of a menu."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """What is said of a structure.

    Attributes
    ----------
    family : str
        ``"simple"``, ``"serial"``, ``"factor analytic"``, ``"spatial"``, ``"smooth"``, ``"product"`` or ``"known"``.
    title, sentence : str
        Its name in words; when to use it.
    over : str
        What it stands on: ``"effects"``, ``"levels"`` (of one factor), ``"order"`` (levels that have one), ``"positions"``,
        ``"column"``, ``"columns"``, ``"parts"`` or ``"group"`` (the levels right of the bar).
    """

    family: str
    title: str
    sentence: str
    over: str


ENTRIES: dict[str, Entry] = {
    "us": Entry(
        "simple",
        "unstructured",
        "A variance for every effect and a covariance for every pair: the safe choice for a few effects with many "
        "levels behind them.",
        "effects",
    ),
    "diag": Entry(
        "simple",
        "diagonal",
        "A variance for every effect and no covariances: effects that differ in size and tell nothing about each other.",
        "effects",
    ),
    "id": Entry(
        "simple",
        "identity",
        "One variance for all effects and no covariances: the plainest interaction.",
        "levels",
    ),
    "cs": Entry(
        "simple",
        "compound symmetry",
        "One variance, and one correlation between any two levels: repeated plots or visits that are all equally alike.",
        "levels",
    ),
    "csh": Entry(
        "simple",
        "compound symmetry, a variance per level",
        "One correlation between any two levels, and a variance for each: environments that differ in spread.",
        "levels",
    ),
    "ar1": Entry(
        "serial",
        "first-order autoregression",
        "The correlation falls by one factor with every step: equally spaced times, rows or columns.",
        "order",
    ),
    "arh1": Entry(
        "serial",
        "first-order autoregression, a variance per level",
        "The correlation falls by one factor with every step and the variance changes: growth measured at equal steps.",
        "order",
    ),
    "ar2": Entry(
        "serial",
        "second-order autoregression",
        "Each step depends on the two before it: correlations that swing or fall slowly. Needs a long series.",
        "order",
    ),
    "arh2": Entry(
        "serial",
        "second-order autoregression, a variance per level",
        "As ar2, and the variance changes from level to level.",
        "order",
    ),
    "toep": Entry(
        "serial",
        "Toeplitz",
        "A correlation for every lag, whatever its pattern: equally spaced levels, when ar1 is too strict.",
        "order",
    ),
    "toeph": Entry(
        "serial",
        "Toeplitz, a variance per level",
        "A correlation for every lag and a variance for every level: short series whose spread changes.",
        "order",
    ),
    "ante": Entry(
        "serial",
        "antedependence",
        "Each level regresses on the k before it, with coefficients of its own: visits at unequal steps, growth.",
        "order",
    ),
    "fa": Entry(
        "factor analytic",
        "factor analytic",
        "k hidden factors and a variance of its own for every level: genotypes in many environments, where "
        "unstructured has too many parameters.",
        "effects",
    ),
    "rr": Entry(
        "factor analytic",
        "reduced rank",
        "k hidden factors and nothing else: as fa without specific variances. The matrix has rank k.",
        "effects",
    ),
    "exp": Entry(
        "spatial",
        "exponential",
        "The correlation falls exponentially with distance: a rough surface, plots at any positions.",
        "positions",
    ),
    "gau": Entry(
        "spatial",
        "Gaussian",
        "The correlation stays high nearby and then falls fast: a very smooth surface. Keep a nugget beside it.",
        "positions",
    ),
    "sph": Entry(
        "spatial",
        "spherical",
        "The correlation falls almost in a line and is zero beyond the range: patches of one size.",
        "positions",
    ),
    "matern": Entry(
        "spatial",
        "Matern",
        "Between exponential and Gaussian; nu says how smooth the surface is (0.5 exponential, 2.5 smooth).",
        "positions",
    ),
    "spl": Entry(
        "smooth",
        "smoothing spline",
        "A smooth curve over a covariate, as bent as the data ask for; its straight line joins the fixed terms by itself.",
        "column",
    ),
    "spl2d": Entry(
        "smooth",
        "spline surface",
        "A smooth surface over rows and columns, as in SpATS: a field whose trend no block follows.",
        "columns",
    ),
    "kron": Entry(
        "product",
        "product of two structures",
        "Two structures over one group, as traits by times: few parameters for many combinations.",
        "parts",
    ),
    "known": Entry(
        "known",
        "known relationship",
        "The covariance of the levels is given, by a pedigree, markers or a matrix; only its variance is estimated.",
        "group",
    ),
}
FAMILIES = tuple(dict.fromkeys(entry.family for entry in ENTRIES.values()))
#: Forms with a variance per level that have no entry of their own.
VARIANTS = {"ar1h": "arh1", "ar2h": "arh2"} | {f"{name}h": name for name in ("exp", "gau", "sph", "matern")}

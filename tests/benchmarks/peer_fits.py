"""One program on one job, in a process of its own: ``python peer_fits.py job.json`` prints JSON.

Run by the Python that has the program installed. The fit call alone is timed, after one that is not; a first fit that takes
long is not repeated and counts itself. A program's own way from the table to its matrices is part of its fit where the user
cannot do it once and for all.
"""

from __future__ import annotations

import cProfile
import importlib.metadata
import io
import json
import math
import pstats
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

Fit = Callable[[], float]
#: Short fits are repeated until they have taken so many seconds together, or so often.
ENOUGH, MOST = 1.0, 51


def openreml(job: dict[str, Any], data: pd.DataFrame) -> Fit:
    import openreml_core as reml

    relationship = None
    if job["relationship"]:
        from tests.benchmarks import peer_data

        relationship = getattr(peer_data, job["relationship"])()[1]
    options = {"residual": job["residual"], "relationship": relationship}
    return lambda: reml.fit(job["formula"], data, **options).criterion


def mixedlm(job: dict[str, Any], data: pd.DataFrame) -> Fit:
    from mixedlm import lmer

    return lambda: float(lmer(job["formula"], data).REMLcrit())


def statsmodels(job: dict[str, Any], data: pd.DataFrame) -> Fit:
    import statsmodels.formula.api as smf

    if job["slope"]:  # one term: its grouping is statsmodels' own
        group, slope = job["terms"][0][0], f"~{job['slope']}"
        return lambda: -2 * smf.mixedlm(job["fixed"], data, groups=group, re_formula=slope).fit(reml=True).llf
    data = data.assign(one=1)
    parts = {":".join(term): "0 + " + ":".join(f"C({name})" for name in term) for term in job["terms"]}
    options = {"groups": "one", "vc_formula": parts, "re_formula": "0"}
    return lambda: -2 * smf.mixedlm(job["fixed"], data, **options).fit(reml=True).llf


def pyreml(job: dict[str, Any], data: pd.DataFrame) -> Fit:
    from pyreml import MixedModel, Random

    response, fixed = (side.strip() for side in job["fixed"].split("~"))
    data = data.assign(**{":".join(t): data[t].agg(":".join, axis=1) for t in job["terms"] if len(t) > 1})

    def fit() -> float:
        form = {"formula": f"1 + {job['slope']}", "left_hand": "full"} if job["slope"] else {"formula": "1"}
        random = [Random(unit=":".join(term), **form) for term in job["terms"]]
        model = MixedModel.from_dataframe(data=data, response=response, fixed=fixed, random=random)
        model.fit(verbose=False)
        return float(model.neg2loglik)

    return fit


def torch_openreml(job: dict[str, Any], data: pd.DataFrame) -> Fit:
    import torch
    from torch_openreml import MarginalREML
    from torch_openreml.covariance import CovariancePropagation, DummyMatrix, ScalarMatrix, Sum
    from torch_openreml.post import loglik
    from torch_openreml.utils import augment

    torch.set_default_dtype(torch.float64)
    response, fixed = (side.strip() for side in job["fixed"].split("~"))
    y = torch.tensor(data[response].to_numpy())
    x = augment(torch.ones(len(data), 1), DummyMatrix(data[fixed], drop_first=True)())
    joined = [data[term].agg(":".join, axis=1) for term in job["terms"]]

    def fit() -> float:
        parts = [CovariancePropagation(DummyMatrix(one), ScalarMatrix(one.nunique())) for one in joined]
        v = Sum(*parts, ScalarMatrix(len(data)))
        theta, *_ = MarginalREML(v).optimize(y, x, torch.zeros(len(parts) + 1))
        constant = (len(data) - x.shape[1]) * math.log(2 * math.pi)
        return constant - 2 * float(loglik(y, x, v(theta)))

    return fit


PROGRAMS = {f.__name__: f for f in (openreml, mixedlm, statsmodels, pyreml, torch_openreml)}
PACKAGES = {"openreml": "openreml-studio", "torch_openreml": "torch-openreml"}


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    warnings.simplefilter("ignore")
    data = pd.read_csv(job["file"], dtype=dict.fromkeys(job["factors"], "str"))
    fit = PROGRAMS[job["program"]](job, data)
    seconds, processor, criterion = [], [], math.nan
    while len(seconds) <= job["repeats"] or (len(seconds) <= MOST and sum(seconds[1:]) < ENOUGH):
        began, worked = time.perf_counter(), time.process_time()
        criterion = fit()
        seconds.append(time.perf_counter() - began)
        processor.append(time.process_time() - worked)
        if seconds[0] > job["long"]:
            break
    package = PACKAGES.get(job["program"], job["program"])
    out = {"seconds": seconds[1:] or seconds, "processor": processor[1:] or processor, "criterion": criterion}
    out |= {"version": importlib.metadata.version(package), "megabytes": peak_megabytes()}
    if job["profile"]:
        out["profile"] = profiled(fit, max(1, min(50, round(1 / seconds[-1]))))
    print(json.dumps(out))


def peak_megabytes() -> float | None:
    """The most memory that this process has held; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def profiled(fit: Fit, fits: int, lines: int = 14) -> list[str]:
    """Where the time of some fits goes: seconds within a function itself, and the function."""
    profile = cProfile.Profile()
    for _ in range(fits):
        profile.runcall(fit)
    stats = pstats.Stats(profile, stream=io.StringIO())
    total = stats.total_tt  # type: ignore[attr-defined]
    rows = sorted(stats.stats.items(), key=lambda item: -item[1][2])[:lines]  # type: ignore[attr-defined]
    return [
        f"{own / total:6.1%} {own:8.3f} s {calls:8d} x  {'/'.join(Path(file).parts[-2:])}:{line} {name}"
        for (file, line, name), (_, calls, own, _, _) in rows
    ]


if __name__ == "__main__":
    main()

"""Fits side by side with other programs: ``python tests/benchmarks/peers.py [--peers /path/to/python]``.

Prints, for every row, the median seconds of each program, how many times slower than this one it is, and by how much the
criteria differ; beside it the bar and whether it is met. Exits with 1 where a bar is missed; such a row is followed by a
profile of where the time goes.

Every program runs in a process of its own, on a table read from the same file, and is timed on the fit call alone, warm:
the median of 5 fits, or of as many as make a second where they are short; what takes longer than 15 s is run once. The
processor's time beside it says whether the machine was busy with other work. lme4 is run by Rscript; mixedlm, statsmodels,
pyreml and torch-openreml by the Python named with --peers, an environment apart that has them:

    python3.12 -m venv peers && peers/bin/pip install --pre torch mixedlm statsmodels pyreml torch-openreml

Ten million rows from Parquet have a script of their own, files.py.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from tests.benchmarks import peer_data  # noqa: E402

OTHERS = ("lme4", "mixedlm", "statsmodels", "pyreml", "torch_openreml")
LONG, GIVE_UP = 15.0, 900.0  # seconds: run once; not waited for
CROSSED = "not run: its design is dense, rows by levels"
ROWS = "not run: V is dense, rows by rows"


@dataclass(frozen=True)
class Bar:
    """Seconds at most, or a part of another program's time; and megabytes at most."""

    seconds: float | None = None
    than: dict[str, float] = field(default_factory=dict)
    goal: str = ""
    megabytes: float | None = None

    def __str__(self) -> str:
        words = [f"{self.seconds:g} s"] if self.seconds else []
        words += [f"{name} / {times:g}" for name, times in self.than.items()]
        words += [f"{self.megabytes:g} MB"] if self.megabytes else []
        return ", ".join(words) + (f" (goal {self.goal})" if self.goal else "")


@dataclass(frozen=True)
class Case:
    """A row: a table, a model in every program's words, and who does it.

    Attributes
    ----------
    fixed, terms, slope
        The fixed part, grouping columns of each random term, and the slope beside its intercept, for programs without bars.
    others : dict of str to str
        Programs that take part; where they do not, why.
    """

    name: str
    read: Callable[[], pd.DataFrame]
    formula: str
    bar: Bar
    fixed: str = ""
    terms: tuple[tuple[str, ...], ...] = ()
    slope: str = ""
    residual: str | None = None
    relationship: str | None = None
    factors: tuple[str, ...] = ()
    others: dict[str, str] = field(default_factory=dict)
    long: bool = False


ALPHA = {"formula": "y ~ rep + (1 | gen) + (1 | rep:block)", "fixed": "y ~ rep", "terms": (("gen",), ("rep", "block")),
         "factors": ("rep", "block", "gen")}  # fmt: skip
MET = "y ~ env + (1 | gen) + (1 | gen:loc) + (1 | gen:year) + (1 | gen:loc:year) + (1 | rep:env)"
ALL = dict.fromkeys(OTHERS, "")
ALONE = {"lme4": "one residual variance only", "mixedlm": "one residual variance only"}

CASES = (
    Case("sleepstudy", peer_data.sleepstudy, "Reaction ~ Days + (Days | Subject)",
         Bar(than={"lme4": 1}, goal="mixedlm"), "Reaction ~ Days", (("Subject",),), slope="Days", factors=("Subject",),
         others=ALL | {"torch_openreml": "no slopes with intercepts"}),
    Case("john_alpha", peer_data.john_alpha, **ALPHA, others=ALL,
         bar=Bar(than={"lme4": 1, "pyreml": 1, "torch_openreml": 1}, goal="mixedlm")),
    Case("insteval", peer_data.insteval, "y ~ service + (1 | s) + (1 | d) + (1 | dept)",
         Bar(than={"mixedlm": 3}, goal="mixedlm / 5"), factors=("s", "d", "dept", "service"),
         others={"lme4": "", "mixedlm": "", "statsmodels": CROSSED, "pyreml": CROSSED, "torch_openreml": ROWS}),
    Case("crossed", peer_data.crossed, "y ~ x + (1 | a) + (1 | b)", Bar(than={"mixedlm": 3}, goal="mixedlm / 5"),
         factors=("a", "b"),
         others={"lme4": "", "mixedlm": "", "statsmodels": CROSSED, "pyreml": CROSSED, "torch_openreml": ROWS}),
    Case("alpha 1000", partial(peer_data.alpha, 1000), **ALPHA, bar=Bar(0.05),
         others={"lme4": "", "mixedlm": "", "pyreml": "", "torch_openreml": ""}),
    Case("alpha 2000", partial(peer_data.alpha, 2000), **ALPHA, bar=Bar(0.2),
         others={"lme4": "", "mixedlm": "", "pyreml": "", "torch_openreml": ""}, long=True),
    Case("alpha 4000", partial(peer_data.alpha, 4000), **ALPHA, bar=Bar(1.0),
         others={"lme4": "", "mixedlm": "", "torch_openreml": "not run: V is dense; see 2,000 plots"}),
    Case("besag_met", peer_data.besag_met, "y ~ county + fa(0 + county | gen, k=2)", Bar(20.0),
         residual="dsum(ar1(row):ar1(col) | county)", factors=("county", "gen"), long=True,
         others={"lme4": "no such structures", "mixedlm": "no such structures"}),
    Case("environments", peer_data.environments, MET, Bar(15.0, goal="4 s", megabytes=2000),
         residual="dsum(id(units) | env)", factors=("env", "rep", "gen", "loc", "year"), others=ALONE, long=True),
    Case("gblup 4000", lambda: peer_data.genomic()[0], "y ~ 1 + (1 | gen)", Bar(60.0), relationship="genomic",
         factors=("gen",), others={"lme4": "no relationships"}, long=True),
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=None, metavar="PYTHON", help="the Python that has the other programs")
    parser.add_argument("--only", default="", metavar="NAMES", help="rows whose name holds one of these, with commas")
    parser.add_argument("--skip-long", action="store_true", help="leave out what takes minutes")
    parser.add_argument("--alone", action="store_true", help="this program only")
    parser.add_argument("--repeats", type=int, default=5)
    request = parser.parse_args()
    wanted = [part.strip() for part in request.only.split(",") if part.strip()]
    missed = []
    print(
        f"{'row':14s} {'program':15s} {'median s':>10s} {'cpu s':>8s} {'runs':>5s} {'ratio':>8s} {'criterion':>17s}  remarks"
    )
    for case in CASES:
        if (wanted and not any(part in case.name for part in wanted)) or (request.skip_long and case.long):
            continue
        if not run_case(case, request):
            missed.append(case.name)
    print(f"\nshort of the bar: {', '.join(missed)}" if missed else "\nevery bar is met")
    return int(bool(missed))


def run_case(case: Case, request: argparse.Namespace) -> bool:
    """Run and print one row; whether its bar is met."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            data = case.read()
        except FileNotFoundError as error:
            print(f"{case.name:14s} not run: {error.filename} is not there")
            return True
        data.to_csv(Path(folder) / "data.csv", index=False)
        own = run("openreml", case, Path(folder), request)
        found = {"openreml": own}
        for name, why_not in case.others.items():
            if not request.alone:
                found[name] = {"why": why_not} if why_not else run(name, case, Path(folder), request)
        if "why" in own:
            print(f"{case.name:14s} failed: {own['why']}")
            return False
        met = judge(case, found)
        if not met:
            print(
                "".join(
                    f"{'':14s} | {line}\n" for line in run("openreml", case, Path(folder), request, True)["profile"]
                )
            )
    return met


def judge(case: Case, found: dict[str, dict[str, Any]]) -> bool:
    """Print what was found beside the bar."""
    own = statistics.median(found["openreml"]["seconds"])
    others = {name: one["criterion"] for name, one in found.items() if "criterion" in one and name != "openreml"}
    for name, one in found.items():
        label = case.name if name == "openreml" else ""
        if "why" in one:
            print(f"{label:14s} {name:15s} {'-':>10s} {'':8s} {'':5s} {'':8s} {'':17s}  {one['why']}")
            continue
        median, remarks = statistics.median(one["seconds"]), one["version"]
        if name == "openreml":
            remarks += f", {one['megabytes']:.0f} MB at most" if one["megabytes"] else ""
        else:
            difference = (one["criterion"] - found["openreml"]["criterion"]) / abs(one["criterion"])
            remarks += f", criterion {difference:+.1e} relative to ours"
        processor = statistics.median(one["processor"])
        print(
            f"{label:14s} {name:15s} {median:10.4f} {processor:8.4f} {len(one['seconds']):5d} {median / own:8.2f} "
            f"{one['criterion']:17.6f}  {remarks}"
        )
    reasons = []
    if case.bar.seconds and own > case.bar.seconds:
        within = statistics.median(found["openreml"]["processor"]) <= case.bar.seconds
        reasons.append(f"{own:.3g} s" + (", on a busy machine: the processor's time is within it" if within else ""))
    for name, times in case.bar.than.items():
        if "seconds" in found.get(name, {}) and own > statistics.median(found[name]["seconds"]) / times:
            reasons.append(f"{statistics.median(found[name]['seconds']) / own:.2f} times as fast as {name}")
    if case.bar.megabytes and (found["openreml"]["megabytes"] or 0) > case.bar.megabytes:
        reasons.append(f"{found['openreml']['megabytes']:.0f} MB")
    if others:
        best = min(others.values())
        worse = (found["openreml"]["criterion"] - best) / abs(best)
        if worse > 1e-9:
            reasons.append(f"the criterion is {worse:.1e} above the best")
    print(f"{'':14s} bar {case.bar}: {'SHORT, ' + '; '.join(reasons) if reasons else 'met'}\n", flush=True)
    return not reasons


def run(program: str, case: Case, folder: Path, request: argparse.Namespace, profile: bool = False) -> dict[str, Any]:
    """A program's seconds and criterion, or why there are none."""
    job = {
        "program": program, "file": str(folder / "data.csv"), "formula": case.formula, "fixed": case.fixed,
        "terms": case.terms, "slope": case.slope, "residual": case.residual, "relationship": case.relationship,
        "factors": case.factors, "repeats": 0 if profile else request.repeats, "long": LONG, "profile": profile,
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    python = sys.executable if program == "openreml" else request.peers
    command = [python, str(HERE / "peer_fits.py")]
    if program == "lme4":
        rscript = shutil.which("Rscript")
        if rscript is None:
            return {"why": "Rscript is not installed"}
        command = [rscript, str(HERE / "peer_fits.R")]
    elif python is None:
        return {"why": "no --peers given"}
    environment = dict(os.environ)
    if program == "openreml":
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        done = subprocess.run(
            [*command, str(folder / "job.json")],
            capture_output=True, text=True, timeout=GIVE_UP, env=environment, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"why": f"not done after {GIVE_UP:.0f} s"}
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {"why": lines[-1][:110]}
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())

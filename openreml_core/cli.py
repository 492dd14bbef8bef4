"""The shell's way in: ``openreml`` opens the studio, ``openreml fit`` fits a model.

Standard output carries the result and nothing else, standard error the progress and what went wrong. Exit codes: 0 a
fit was reached, 1 it stopped before it converged (with --by: one of them did, or failed), 2 the request could not be
carried out, 130 cancelled from the keyboard.
"""

from __future__ import annotations

import argparse
import glob
import importlib
import json
import math
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from openreml_core import __version__, fit, fit_many, read_table
from openreml_core.assembly import METHODS
from openreml_core.destination import check_target
from openreml_core.engines import ENGINES
from openreml_core.errors import DataError, ModelError, did_you_mean
from openreml_core.estimating import ALGORITHMS
from openreml_core.tables import Role, apply_roles

if TYPE_CHECKING:
    import pandas as pd

    from openreml_core import FitDone, ManyFits, MixedModelFit, TraceRow

EXAMPLES = """examples:
  openreml
  openreml app --port 8600
  openreml fit sample_data/john_alpha.csv "yield ~ rep + (1 | gen) + (1 | rep:block)"
  openreml fit "part-*.parquet" "yield ~ env + (1 | gen)"
  openreml fit trial.xlsx "yield ~ variety + (1 | block/plot)" --factor block,plot --method ml --json
"""


class _Parser(argparse.ArgumentParser):
    """An argparse parser whose complaint is one sentence."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}. See `{self.prog} --help`.", file=sys.stderr)
        raise SystemExit(2)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments without the program's name; those of the process when left out.

    Returns
    -------
    int
        The exit code.
    """
    # A console that cannot show a character shows `?`; the fit goes on.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    request = _parser().parse_args(argv)
    try:
        return _fit(request) if request.command == "fit" else _app(request)
    except ModelError as error:
        print(f"openreml: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("openreml: cancelled.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (`| head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="openreml",
        description="Linear mixed models by REML. Without a command it opens the studio in the browser.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"openreml-studio {__version__}")
    parser.set_defaults(port=None)
    commands = parser.add_subparsers(dest="command", metavar="{app,fit}")

    opening = commands.add_parser("app", help="open the studio in the browser")
    opening.add_argument("--port", type=_port, default=None, help="serve on this port, not the first free one")

    fitting = commands.add_parser("fit", help="fit a model to a table and print its summary")
    fitting.add_argument(
        "file", metavar="FILE", help="csv, tsv, txt, xlsx or parquet; a pattern such as 'part-*.parquet'"
    )
    fitting.add_argument("formula", metavar="FORMULA", help='for example "yield ~ rep + (1 | gen)"')
    fitting.add_argument("--sheet", default=None, metavar="NAME", help="sheet of a workbook, the first by default")
    fitting.add_argument("--residual", default=None, metavar="TEXT", help='such as "ar1(row):ar1(col) + id(units)"')
    fitting.add_argument("--method", choices=list(METHODS), default="reml", help="REML unless told otherwise")
    fitting.add_argument("--algorithm", choices=list(ALGORITHMS), default="ai", help="average information, EM, or both")
    fitting.add_argument("--engine", choices=list(ENGINES), default="auto", help="how V is handled")
    fitting.add_argument("--weights", default=None, metavar="COLUMN", help="prior weights, one per row")
    fitting.add_argument("--factor", default="", metavar="COLUMNS", help="columns to read as factors, with commas")
    fitting.add_argument(
        "--start", type=_value, action="append", default=[], metavar="NAME=VALUE", help="starting value"
    )
    fitting.add_argument("--fix", type=_value, action="append", default=[], metavar="NAME=VALUE", help="value to hold")
    fitting.add_argument(
        "--tie",
        type=_tie,
        action="append",
        default=[],
        metavar="NAME=TEXT",
        help='such as "b.variance = 2 * a.variance"',
    )
    fitting.add_argument("--max-iterations", type=_positive, default=None, metavar="N", help="give up after these")
    fitting.add_argument("--by", default="", metavar="COLUMNS", help="a fit for each of their levels, with commas")
    fitting.add_argument("--save", default=None, metavar="PATH", help="keep the fit in one file")
    fitting.add_argument("--json", action="store_true", help="print the results as JSON instead of the summary")
    fitting.add_argument("--quiet", action="store_true", help="no line per iteration")
    return parser


def _positive(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 up is needed, not {text!r}")
    return int(text)


def _tie(text: str) -> tuple[str, str]:
    """A name and what stands right of the last `=`: names may hold one."""
    name, sign, right = (part.strip() for part in text.rpartition("="))
    if not (name and sign and right):
        raise argparse.ArgumentTypeError(f"NAME=... is needed, such as gen.variance=..., not {text!r}")
    return name, right


def _value(text: str) -> tuple[str, float]:
    name, right = _tie(text)
    try:
        return name, float(right)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a number is needed for {name}, not {right!r}") from None


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"a port from 1 to 65535 is needed, not {text!r}")
    return int(text)


def _app(request: argparse.Namespace) -> int:
    try:
        launch = importlib.import_module("app.launch")
    except ModuleNotFoundError as error:
        raise ModelError(
            f"The studio cannot be opened: {error.name} is not installed.", hint="Install openreml-studio with pip."
        ) from None
    arguments = [] if request.port is None else ["--port", str(request.port)]
    return int(launch.main(arguments) or 0)


def _fit(request: argparse.Namespace) -> int:
    if request.save is not None:
        check_target(request.save)
    by = [name.strip() for name in request.by.split(",") if name.strip()]
    if by and request.save is not None:
        raise ModelError("--save keeps one fit; --by makes many.", hint="Leave one of the two out.")
    table = _table(request.file, request.sheet, request.factor)
    options: dict[str, Any] = {
        "residual": request.residual,
        "weights": request.weights,
        "method": request.method,
        "algorithm": request.algorithm,
        "engine": request.engine,
        "start": _once("--start", request.start),
        "fixed": _once("--fix", request.fix),
        "ties": _once("--tie", request.tie),
        "max_iterations": request.max_iterations,
    }
    if by:
        many = fit_many(request.formula, table, by=by, on_fit=None if request.quiet else _fit_progress, **options)
        print(_many_as_json(many) if request.json else many.summary(), flush=True)
        return 0 if many.table["converged"].fillna(False).all() else 1
    result = fit(request.formula, table, on_iteration=None if request.quiet else _progress, **options)
    print(_as_json(result) if request.json else result.summary(), flush=True)
    if request.save is not None:
        result.save(request.save)
    return 0 if result.converged else 1


def _once(option: str, pairs: list[tuple[str, Any]]) -> dict[str, Any] | None:
    """The pairs given with an option, each name once."""
    names = [name for name, _ in pairs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ModelError(f"{option} names *{twice}* twice.", hint="Give each parameter once.")
    return dict(pairs) or None


def _table(path: str, sheet: str | None, factors: str) -> pd.DataFrame | str:
    """Return the table in `path`, its columns named in `factors` (with commas) as factors; a pattern of files as it is."""
    if glob.has_magic(path) and not Path(path).is_file():
        if sheet or factors:
            raise ModelError(
                "--sheet and --factor are for one table, not for files that are read in portions.",
                hint="Write factor(x) in the formula.",
            )
        return path
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        table = read_table(path, sheet=sheet)
    for notice in said:
        if notice.category is UserWarning:  # a workbook with several sheets
            print(f"openreml: {notice.message} --sheet chooses another.", file=sys.stderr)
    names = [name.strip() for name in factors.split(",") if name.strip()]
    for name in names:
        if name not in table.columns:
            raise DataError(f"--factor: column *{name}* is not in this table.", hint=did_you_mean(name, table.columns))
    return apply_roles(table, dict.fromkeys(names, Role.FACTOR)) if names else table


def _progress(row: TraceRow) -> None:
    print(
        f"iteration {row.iteration:3d}  criterion {row.criterion:.6f}  gradient {row.gradient:.1e}  {row.step}",
        file=sys.stderr,
        flush=True,
    )


def _fit_progress(one: FitDone) -> None:
    name = ", ".join(map(str, one.key))
    print(f"{one.done} of {one.total}  {name}: {one.message}", file=sys.stderr, flush=True)


def _many_as_json(many: ManyFits) -> str:
    """Return the table of many fits as one JSON object, the variance parameters of each in an object of their own."""
    table = many.table.astype(object).where(many.table.notna(), None)
    fits = [{**row, "parameters": {name: row.pop(name) for name in many.parameters}} for row in _records(table)]
    content = {"formula": many.formula, "by": list(many.by), "notes": list(many.notes), "fits": fits}
    return json.dumps(_plain(content), indent=2, ensure_ascii=False)


def _as_json(result: MixedModelFit) -> str:
    """Return what the summary says, as one JSON object; what is not a number is null."""
    fixed = result.fixed_effects()
    scalars = (
        "formula method engine n_obs n_dropped rank criterion loglik loglik_asreml aic bic sigma "
        "converged message singular"
    ).split()
    content: dict[str, Any] = {name: getattr(result, name) for name in scalars}
    content["residual"] = result.specification.residual
    content["aliased"] = list(result.aliased)
    content["warnings"] = list(result.warnings)
    content["iterations"] = int(result.trace["iteration"].iloc[-1])
    content["ddf"] = fixed.attrs["ddf"]
    content["fixed_effects"] = _records(fixed.rename_axis("coefficient").reset_index())
    content["variance_components"] = _records(result.variance_components())
    return json.dumps(_plain(content), indent=2, ensure_ascii=False)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [dict(zip(map(str, table.columns), row, strict=True)) for row in table.itertuples(index=False, name=None)]


def _plain(value: Any) -> Any:
    """Return `value` in JSON's own types: NumPy scalars unwrapped, numbers that are not finite as None."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


if __name__ == "__main__":
    sys.exit(main())

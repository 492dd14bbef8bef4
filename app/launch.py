"""Start the studio: Streamlit with the studio's own settings, from whatever folder it is called.

Streamlit looks for ``.streamlit/config.toml`` in the folder it is started from. Here the file is found beside the package
(a checkout) or inside it (an installed wheel), and its settings are handed on as flags; an environment variable such as
``STREAMLIT_SERVER_PORT`` goes before them.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SCRIPT = HERE / "studio.py"
CONFIGS = (HERE / ".streamlit" / "config.toml", HERE.parent / ".streamlit" / "config.toml")


def main(argv: Sequence[str] | None = None) -> int:
    """Open the studio in the browser and serve it until it is stopped.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--port N`` serves on that port instead of the first free one.

    Returns
    -------
    int
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="openreml app", description="Open the studio in the browser.")
    parser.add_argument("--port", type=int, default=None, help="serve on this port instead of the first free one")
    request = parser.parse_args(argv)
    if str(HERE.parent) not in sys.path:
        sys.path.insert(0, str(HERE.parent))

    from streamlit.web import cli

    port = [] if request.port is None else [f"--server.port={request.port}"]
    sys.argv = ["streamlit", "run", str(SCRIPT), *flags(settings()), *port]
    try:
        cli.main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    return 0


def settings() -> dict[str, Any]:
    """Read the studio's settings: ``{"server.address": "localhost", ...}``."""
    for path in CONFIGS:
        if path.is_file():
            return dict(_flat(tomllib.loads(path.read_text(encoding="utf-8"))))
    return {"server.address": "localhost", "server.showEmailPrompt": False, "browser.gatherUsageStats": False}


def flags(options: Mapping[str, Any]) -> list[str]:
    """Write settings as Streamlit's flags, leaving out those that the environment gives.

    >>> flags({"server.address": "localhost", "theme.headingFontWeights": [650, 600]})
    ['--server.address=localhost', '--theme.headingFontWeights=650', '--theme.headingFontWeights=600']
    """
    out = []
    for name, value in options.items():
        if _variable(name) in os.environ:
            continue
        for one in value if isinstance(value, list) else [value]:
            out.append(f"--{name}={str(one).lower() if isinstance(one, bool) else one}")
    return out


def _variable(name: str) -> str:
    """Name the environment variable of a setting: ``STREAMLIT_SERVER_PORT``."""
    return "STREAMLIT_" + re.sub(r"([a-z])([A-Z])", r"\1_\2", name).replace(".", "_").upper()


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


if __name__ == "__main__":
    sys.exit(main())

"""Start the studio from anywhere: find its script and its settings, hand them to Streamlit."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

APP = Path(__file__).resolve().parent

#: The settings: inside an installed package, or at the top of a checkout.
CONFIGS = (APP / ".streamlit" / "config.toml", APP.parent / ".streamlit" / "config.toml")


def settings() -> dict[str, Any]:
    """The studio's settings as Streamlit's flags take them: ``{"server.address": "localhost", ...}``."""
    path = next((p for p in CONFIGS if p.is_file()), None)
    if path is None:
        return {"server.address": "localhost", "browser.gatherUsageStats": False, "server.showEmailPrompt": False}
    return dict(_flat(tomllib.loads(path.read_text(encoding="utf-8")), ""))


def _flat(table: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    out: list[tuple[str, Any]] = []
    for key, value in table.items():
        out += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return out


def arguments(extra: Sequence[str] = ()) -> list[str]:
    """Streamlit's command line; ``extra`` flags win over the settings."""
    flags = []
    for key, value in settings().items():
        if not any(e == f"--{key}" or e.startswith(f"--{key}=") for e in extra):
            flags.append(f"--{key}={str(value).lower() if isinstance(value, bool) else value}")
    return ["streamlit", "run", str(APP / "studio.py"), *flags, *extra]


def main(argv: Sequence[str] | None = None) -> int:
    """Open the studio in the browser; ``argv`` are further Streamlit flags."""
    from streamlit.web import cli

    sys.argv = arguments(list(sys.argv[1:] if argv is None else argv))
    return int(cli.main() or 0)


if __name__ == "__main__":
    raise SystemExit(main())

"""The launcher finds the studio's settings and hands them to Streamlit."""

from __future__ import annotations

from pathlib import Path

import pytest

from app import launch


def test_the_settings_keep_the_studio_on_this_computer_and_quiet() -> None:
    found = launch.settings()
    assert found["server.address"] == "localhost"
    assert found["browser.gatherUsageStats"] is False
    assert found["server.showEmailPrompt"] is False
    assert "server.enableCORS" not in found  # Streamlit's protection stays on
    assert "server.enableXsrfProtection" not in found
    assert found["server.maxUploadSize"] * 1024**2 < 2e9


def test_the_settings_are_handed_on_from_any_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STREAMLIT_SERVER_ADDRESS", raising=False)
    flags = launch.flags(launch.settings())
    assert "--server.address=localhost" in flags
    assert "--browser.gatherUsageStats=false" in flags
    assert "--theme.dark.primaryColor=#56B4E9" in flags


def test_an_environment_variable_goes_before_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMLIT_SERVER_ADDRESS", "0.0.0.0")
    assert not any(flag.startswith("--server.address") for flag in launch.flags(launch.settings()))


def test_an_installed_copy_carries_its_settings_inside() -> None:
    assert launch.CONFIGS[0] == launch.HERE / ".streamlit" / "config.toml"
    assert launch.SCRIPT.is_file()

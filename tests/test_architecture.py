"""The order of the parts holds: data flows down the list, and a module imports only what stands above it.

Imports inside functions count as well. What is asked of a fit (inference, figures, report) works on its parts and stands
above it; ``fit`` puts the answers together.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "openreml_core"
APP = ROOT / "app"

#: From the ground up: a part imports those to its left. Parts that share an entry do not import each other.
ORDER: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("destination",),
    ("tables",),
    ("notation",),
    ("design",),
    ("factorisation",),
    ("covariance",),
    ("relationship",),
    ("model",),
    ("structures",),
    ("gallery",),
    ("assembly",),
    ("engines",),
    ("streaming",),
    ("repeat",),
    ("reml",),
    ("inference",),
    ("prediction", "simulation", "profiles"),
    ("diagnostics",),
    ("hierarchical",),
    ("figures",),
    ("report", "storage"),
    ("fitted",),
    ("estimating", "preview"),
    ("fitting",),
    ("loading", "by_hand"),
    ("many",),
    ("__init__",),
    ("cli",),
    ("__main__",),
)
LEVEL = {part: level for level, parts in enumerate(ORDER) for part in parts}

LONGEST = 400  # lines; seldom more than 250
VAGUE = {"utils", "util", "helpers", "misc", "common"}


@dataclass(frozen=True)
class Import:
    """One imported module: who imports it, on which line, and whether inside a function."""

    file: Path
    line: int
    module: str
    deferred: bool

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.module}"


def sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def package_of(file: Path) -> list[str]:
    """The dotted package that relative imports of `file` start from."""
    return list(file.relative_to(ROOT).with_suffix("").parts[:-1])


def is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def imports(file: Path) -> Iterator[Import]:
    """Every import of `file`, a name each (``from a import b`` is ``a.b``); what only type checkers see is left out."""

    def walk(node: ast.AST, deferred: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and is_type_checking(node.test):
            for child in node.orelse:
                yield from walk(child, deferred)
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name, deferred)
        elif isinstance(node, ast.ImportFrom):
            start = package_of(file)[: len(package_of(file)) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(file, node.lineno, f"{base}.{alias.name}", deferred)
        inside = deferred or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, inside)

    yield from walk(ast.parse(file.read_text(encoding="utf-8")), False)


def part_of(file: Path) -> str:
    """The part of the core that a file belongs to: ``engines/marginal.py`` is in ``engines``."""
    return file.relative_to(CORE).with_suffix("").parts[0]


def part_named(module: str) -> str | None:
    """The part of the core that an imported name belongs to; None for other packages."""
    parts = module.split(".")
    if parts[0] != "openreml_core":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in LEVEL else "__init__"


def offences(folder: Path, roots: set[str]) -> list[str]:
    return [str(found) for file in sources(folder) for found in imports(file) if found.module.split(".")[0] in roots]


def test_there_is_something_to_look_at() -> None:
    assert len(sources(CORE)) > 10
    assert len(list(imports(CORE / "cli.py"))) > 5


def test_every_part_of_the_core_has_its_place() -> None:
    unknown = {part_of(file) for file in sources(CORE)} - set(LEVEL)
    assert not unknown, f"not in ORDER: {sorted(unknown)}"


def test_imports_run_one_way() -> None:
    wrong = []
    for file in sources(CORE):
        part = part_of(file)
        for found in imports(file):
            target = part_named(found.module)
            if target is None or target == part:
                continue
            if LEVEL[target] >= LEVEL[part]:
                wrong.append(f"{found}: {target} does not stand above {part}")
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_in_a_circle() -> None:
    names = {}
    for file in sources(CORE):
        parts = file.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file

    def target(module: str) -> str | None:
        while module and module not in names:
            module = module.rpartition(".")[0]
        return module or None

    graph = {
        name: {t for i in imports(file) if not i.deferred and (t := target(i.module)) and t != name}
        for name, file in names.items()
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for following in sorted(graph[name]):
                visit(following, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_the_core_knows_no_streamlit() -> None:
    assert not offences(CORE, {"streamlit", "app"})


def test_only_figures_and_report_know_plotly() -> None:
    knows = ("openreml_core/figures", "openreml_core/report")
    found = [line for line in offences(CORE, {"plotly"}) if not line.startswith(knows)]
    assert not found, "\n".join(found)


def test_pages_do_no_mathematics() -> None:
    found = offences(APP, {"torch", "scipy", "numpy", "formulaic"})
    assert not found, "\n".join(found)


def test_the_app_uses_public_names_only() -> None:
    ours = [found for file in sources(APP) for found in imports(file) if found.module.startswith("openreml_core.")]
    private = [str(found) for found in ours if any(part.startswith("_") for part in found.module.split("."))]
    assert not private, "\n".join(private)


def test_session_state_stays_in_one_module() -> None:
    touched = []
    for file in sources(APP):
        if file == APP / "session.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            name = node.attr if isinstance(node, ast.Attribute) else node.name if isinstance(node, ast.alias) else None
            if name == "session_state":
                touched.append(f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', '?')}")
    assert not touched, f"st.session_state belongs in app/session.py: {touched}"


def test_no_module_of_the_app_hides_the_standard_library() -> None:
    """app/ is sys.path[0] when Streamlit runs: ``app/queue.py`` would be everyone's ``queue``."""
    names = [file.relative_to(ROOT) for file in sources(APP) if file.stem in sys.stdlib_module_names]
    folders = [file for file in APP.iterdir() if file.is_dir() and file.name in sys.stdlib_module_names]
    assert not names + folders


def test_no_folder_of_pages_that_streamlit_would_list_itself() -> None:
    assert not (APP / "pages").exists()


@pytest.mark.parametrize("folder", [CORE, APP], ids=lambda path: path.name)
def test_a_file_is_about_one_thing(folder: Path) -> None:
    vague = [str(file.relative_to(ROOT)) for file in sources(folder) if file.stem in VAGUE]
    assert not vague, f"name these by what they are about: {vague}"
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in sources(folder)}
    long = {str(file.relative_to(ROOT)): length for file, length in lengths.items() if length > LONGEST}
    assert not long, f"longer than {LONGEST} lines: {long}"

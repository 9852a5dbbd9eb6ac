"""The tree keeps the shape that the design gives it: layers, sizes, no cycles, nothing of one machine."""

from __future__ import annotations

import ast
import re
import subprocess
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "stream").rglob("*.py"))
}

# What each layer may import of ours, beside itself.  Adapters know neither the runtime nor each other.
ALLOWED = {
    "stream.core": (),
    "stream.wire": ("stream.core",),
    "stream.ports": ("stream.core",),
    "stream.runtime": ("stream.core", "stream.wire", "stream.ports"),
    "stream.adapters": ("stream.core", "stream.ports"),
    "stream.simulator": ("stream.core", "stream.adapters.clock", "stream.web.serving"),
    "stream.metrics": ("stream", "stream.core", "stream.ports", "stream.runtime"),
    "stream.replica": ("stream.core", "stream.wire", "stream.ports", "stream.runtime", "stream.config.units"),
    "stream.web": (
        "stream",
        "stream.core",
        "stream.wire",
        "stream.ports",
        "stream.metrics",
        "stream.runtime",
        "stream.replica",
        "stream.config.units",
    ),
    "stream.config": ("stream.core", "stream.ports"),
    "stream.bootstrap": ("stream",),
    "stream.demo": ("stream",),
    "stream.survey": (
        "stream.core",
        "stream.wire",
        "stream.ports",
        "stream.runtime",
        "stream.adapters",
        "stream.config",
        "stream.bootstrap",
    ),
    "stream.cli": ("stream",),
}


def layer_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def imports_of(module: str) -> set[str]:
    """Our modules that a module imports, whether at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in names}
    return {name for name in found if name in MODULES and name != module}


@pytest.mark.parametrize("module", [name for name in MODULES if name != "stream"])
def test_imports_point_one_way(module: str) -> None:
    """A module imports only what its layer may know."""
    layer = layer_of(module)
    allowed = ALLOWED[layer]
    for imported in imports_of(module):
        own = layer_of(imported) == layer and not (layer == "stream.adapters" and _other_adapter(module, imported))
        below = any(imported == name or imported.startswith(f"{name}.") for name in allowed if name != "stream")
        top = "stream" in allowed and (
            imported == "stream" or layer in ("stream.bootstrap", "stream.demo", "stream.cli")
        )
        assert own or below or top, f"{module} imports {imported}"


def _other_adapter(module: str, imported: str) -> bool:
    family = {"sqlite": "sqlite", "memory": "memory", "vmmanager": "vmmanager", "clock": "clock", "kafka": "kafka"}
    names = [next((f for f in family if m.split(".")[-1].startswith(f)), None) for m in (module, imported)]
    return None not in names and names[0] != names[1]


def test_no_import_cycle() -> None:
    """Modules can be put in an order in which each imports only earlier ones."""
    graph = {module: imports_of(module) for module in MODULES}
    TopologicalSorter(graph).prepare()


def test_core_is_pure() -> None:
    """The core imports no I/O, no asyncio, no clock, no logging."""
    forbidden = {"asyncio", "time", "logging", "structlog", "sqlite3", "httpx", "socket", "os", "threading", "random"}
    for module, path in MODULES.items():
        if module.startswith("stream.core"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = (
                    {alias.name for alias in node.names} if isinstance(node, ast.Import)
                    else {str(node.module)} if isinstance(node, ast.ImportFrom) else set()
                )  # fmt: skip
                assert not {name.split(".")[0] for name in names} & forbidden, f"{module} imports {names}"


def test_functions_and_modules_stay_small() -> None:
    """No function over 60 lines, no module over 400."""
    for module, path in MODULES.items():
        text = path.read_text()
        assert text.count("\n") <= 400, f"{module} has {text.count(chr(10))} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                assert lines <= 60, f"{module}.{node.name} has {lines} lines"


def test_top_level_is_what_the_customer_fixed() -> None:
    """No other folder or file stands at the top."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    top = {name.split("/")[0] for name in tracked}
    allowed = {
        "pyproject.toml",
        "README.md",
        "stream",
        "schemas",
        "tests",
        "compose",
        "Makefile",
        "LICENSE",
        "CHANGELOG.md",
    }
    assert {name for name in top if not name.startswith(".")} <= allowed


def test_nothing_names_this_machine() -> None:
    """No file names a registry's host or a path of the machine it was written on."""
    hosts = "|".join(("pypi" + r"\.org", "pythonhosted" + r"\.org", "npmjs" + r"\.(org|com)", "repo1?\\." + "maven"))
    pattern = re.compile(rf"{hosts}|/wor[k]/|/hom[e]/|/roo[t]/")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in tracked:
        path = ROOT / name
        if path.is_file() and path.suffix not in {".db", ".png"}:
            found = pattern.search(path.read_text(errors="replace"))
            assert found is None, f"{name} names {found.group() if found else ''}"

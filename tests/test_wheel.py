"""What is installed is what was tested: the wheel holds all it needs."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_all_that_is_no_code(wheel: Path) -> None:
    """Schemas, example configurations, the unit file, the type marker, the pages and what they look like are packed."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "stream/py.typed" in names
    for folder, pattern in (("schemas", "*.json"), ("stream/examples", "*")):
        for path in (ROOT / folder).glob(pattern):
            if path.is_file():
                assert f"{'stream/' if folder == 'schemas' else ''}{folder}/{path.name}" in names
    for folder in ("templates", "static"):
        for path in (ROOT / "stream" / "web" / folder).rglob("*.*"):
            assert path.relative_to(ROOT).as_posix() in names
    assert not [name for name in names if name.startswith("tests")]


@pytest.mark.timeout(300)
def test_an_installed_wheel_runs_the_demo_outside_the_tree(wheel: Path, tmp_path: Path) -> None:
    """In an empty environment, in another folder, the command works and its audit finds nothing wrong."""
    uv = [sys.executable, "-m", "uv", "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, str(tmp_path / "env")], check=True)
    install = [*uv, "pip", "install", "--python", str(tmp_path / "env" / "bin" / "python")]
    constraints = _constraints(tmp_path, ROOT / ".ci" / "requirements.lock")
    subprocess.run([*install, "--constraint", constraints, str(wheel)], check=True)
    command = [str(tmp_path / "env" / "bin" / "quota-stream"), "demo", "--json", "--services", "4", "--hours", "8"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["bytes_sent"] == summary["bytes_counted"] > 0
    assert summary["mismatches"] == 0


def _constraints(folder: Path, lock: Path) -> str:
    """The locked versions without their hashes: a constraint for what the wheel itself asks for."""
    lines = [line.split(" \\")[0] for line in lock.read_text().splitlines() if "==" in line and line[0].isalnum()]
    path = folder / "constraints.txt"
    path.write_text("\n".join(lines) + "\n")
    return str(path)

"""Every file that a release wrote is opened by this one, and means the same."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stream import __version__
from tests.released.content import FOLDER, content

FILES = sorted(FOLDER.glob("*.db"))
CONFIGURATION = "log: sqlite:quota-stream.db\n"


def test_this_version_has_left_its_file() -> None:
    """The file of the present version is among them."""
    assert f"{__version__}.db" in [file.name for file in FILES]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_it_means_the_same(file: Path, tmp_path: Path) -> None:
    """State, decisions, enforcements and dead letters are read as they were then."""
    copy = tmp_path / "quota-stream.db"
    shutil.copy(file, copy)
    assert await content(copy) == json.loads(file.with_suffix(".json").read_text())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_goes_on(file: Path, tmp_path: Path) -> None:
    """What is published now is counted on top of what was counted then."""
    shutil.copy(file, tmp_path / "quota-stream.db")
    (tmp_path / "quota-stream.yaml").write_text(CONFIGURATION)
    before = json.loads(file.with_suffix(".json").read_text())["services"]
    service, old = next(iter(before.items()))
    end = old["current"][1]
    delta = {"service": service, "start": end, "end": end + 1000, "in": 7, "out": 5}
    for arguments, text in (["publish"], json.dumps(delta)), (["run", "--drain"], ""):
        command = [sys.executable, "-c", "from stream.cli import main; main()", *arguments]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True, input=text)
    new = asyncio.run(content(tmp_path / "quota-stream.db"))["services"][service]
    assert (new["accepted_in"], new["accepted_out"]) == (old["accepted_in"] + 7, old["accepted_out"] + 5)

"""A machine without the system libraries of OpenCV, such as a slim container: `import cv2` fails.

One process of its own runs all commands (`bare_machine`), for what the process of the tests has
imported can no longer be missing.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import bare_machine
import pytest

FAULT = "libxcb.so.1: cannot open shared object file: No such file or directory"
PACKAGES = "apt-get install libxcb1 libgl1 libglib2.0-0"
WORKING = (
    "cls fit",
    "det fit",
    "cls robustness",
    "det robustness",
    "published sets",
    "benchmark",
)
REFUSED = ("seg fit", "seg benchmark", "seg copies")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Where the commands ran, and how they ended."""
    folder = tmp_path_factory.mktemp("bare")
    module = folder / "modules" / "cv2" / "__init__.py"
    module.parent.mkdir(parents=True)
    module.write_text(f"raise ImportError({FAULT!r})\n")
    tests = Path(bare_machine.__file__).parent
    paths = os.pathsep.join(map(str, (module.parent.parent, tests.parent, tests)))
    done = subprocess.run(
        [sys.executable, bare_machine.__file__, str(folder)],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", WORKING)
def test_all_but_segmentation_runs_without_opencv(bare, name):
    ended = bare[1]["ended"][name]
    assert ended["code"] == 0, ended["err"]
    assert len(ended["folders"]) == 1


def test_what_needs_opencv_is_not_imported_for_other_tasks(bare):
    assert bare[1]["imported"] == []


@pytest.mark.parametrize("name", REFUSED)
def test_segmentation_names_the_packages_to_install_and_leaves_nothing(bare, name):
    folder, results = bare
    ended = results["ended"][name]
    assert ended["code"] == 1
    (message,) = [line for line in ended["err"].splitlines() if line.startswith("error: ")]
    assert FAULT in message
    assert "segmentation" in message
    assert PACKAGES in message
    assert "Traceback" not in ended["err"]
    assert ended["folders"] == []
    assert not (folder / "copies").exists()
    assert not (folder / "runs" / "seg").exists()


def test_the_readme_names_the_same_packages():
    readme = (Path(bare_machine.__file__).parents[1] / "README.md").read_text()
    assert PACKAGES in readme.partition("## What to read first")[0]

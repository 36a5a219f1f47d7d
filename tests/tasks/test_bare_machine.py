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

ROOT = Path(bare_machine.__file__).parents[1]
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


def without_opencv(folder, *command):
    """Run Python where `import cv2` fails."""
    module = folder / "modules" / "cv2" / "__init__.py"
    module.parent.mkdir(parents=True, exist_ok=True)
    module.write_text(f"raise ImportError({FAULT!r})\n")
    paths = (module.parent.parent, ROOT, ROOT / "tests")
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Where the commands ran, and how they ended."""
    folder = tmp_path_factory.mktemp("bare")
    done = without_opencv(folder, bare_machine.__file__, str(folder))
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


def test_the_whole_suite_names_them_too_and_does_not_begin(tmp_path):
    done = without_opencv(tmp_path, "-m", "pytest", "--collect-only")
    (message,) = (done.stdout + done.stderr).strip().splitlines()
    assert message.startswith("ERROR: ")
    assert PACKAGES in message
    assert done.returncode != 0


def test_the_readme_names_the_same_packages():
    assert PACKAGES in (ROOT / "README.md").read_text().partition("## What to read first")[0]

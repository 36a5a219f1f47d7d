"""What the command answers without starting a job."""

import argparse
import os
import subprocess
import sys

from tasks.config.command_line import checked_if_string

MOST_CPU_SECONDS = 1.5
TRIES = 3


def command(*arguments, cwd):
    """What ended, and what was imported by it."""
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tasks.run", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    return ended, {line.rsplit("|", 1)[-1].strip() for line in ended.stderr.splitlines()}


def is_quick(*arguments, cwd):
    """Whether one of a few tries is: a machine may be busy with something else."""
    return any(cpu_seconds(*arguments, cwd=cwd) < MOST_CPU_SECONDS for _ in range(TRIES))


def cpu_seconds(*arguments, cwd):
    before = os.times()
    command(*arguments, cwd=cwd)
    after = os.times()
    cpu = after.children_user + after.children_system
    return cpu - before.children_user - before.children_system


def test_help_is_quick_and_imports_no_torch(tmp_path):
    ended, imported = command("--help", cwd=tmp_path)
    assert ended.returncode == 0
    assert "convnext_dcls_atto" in ended.stdout
    assert "hydra" in imported
    assert not {"torch", "lightning", "timm"} & imported
    assert is_quick("--help", cwd=tmp_path)


def test_cfg_is_quick_and_works_from_any_folder(tmp_path):
    ended, imported = command("--cfg", "job", cwd=tmp_path)
    assert ended.returncode == 0
    assert "name: shapes" in ended.stdout
    assert not {"torch", "lightning", "timm"} & imported
    assert is_quick("--cfg", "job", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_mistyped_group_choice_lists_the_choices_and_fails(tmp_path):
    ended, _ = command("dataset=shape", "--cfg", "job", cwd=tmp_path)
    assert ended.returncode == 1
    assert "imagefolder" in ended.stderr
    assert "shapes" in ended.stderr


def test_a_help_that_is_no_string_is_not_looked_into():
    """Python 3.14 looks into every help, and that of one of Hydra's flags is no string."""
    looked_into = []
    check = checked_if_string(lambda parser, action: looked_into.append(action.help))
    parser = argparse.ArgumentParser()
    for flag, text in (("--plain", "plain"), ("--lazy", object())):
        check(parser, parser.add_argument(flag))
        action = parser.add_argument(f"{flag}-2")
        action.help = text
        check(parser, action)
    assert looked_into == ["plain"]

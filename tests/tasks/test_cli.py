"""What the command answers without starting a job."""

import os
import subprocess
import sys


def command(*arguments, cwd):
    before = os.times()
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tasks.run", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    after = os.times()
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    imported = {line.rsplit("|", 1)[-1].strip() for line in ended.stderr.splitlines()}
    return ended, cpu, imported


def test_help_is_quick_and_imports_no_torch(tmp_path):
    ended, cpu, imported = command("--help", cwd=tmp_path)
    assert ended.returncode == 0
    assert "convnext_dcls_atto" in ended.stdout
    assert "hydra" in imported
    assert not {"torch", "lightning", "timm"} & imported
    assert cpu < 1.5


def test_cfg_is_quick_and_works_from_any_folder(tmp_path):
    ended, cpu, imported = command("--cfg", "job", cwd=tmp_path)
    assert ended.returncode == 0
    assert "name: shapes" in ended.stdout
    assert not {"torch", "lightning", "timm"} & imported
    assert cpu < 1.5
    assert list(tmp_path.iterdir()) == []


def test_a_mistyped_group_choice_lists_the_choices_and_fails(tmp_path):
    ended, _, _ = command("dataset=shape", "--cfg", "job", cwd=tmp_path)
    assert ended.returncode == 1
    assert "imagefolder" in ended.stderr
    assert "shapes" in ended.stderr

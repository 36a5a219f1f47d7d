"""Who may import whom: conf -> run -> job -> mode -> task package -> {engine, data, dcls}."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALLOWED_IN_DCLS = {"dcls", "torch", "torchvision", "timm", "numpy", "safetensors"}
ALLOWED_IN_GPU = {"triton"}  # comes with torch, but not everywhere
PACKAGES = {"classification", "segmentation", "detection", "robustness", "benchmark"}
SHARED = ("engine", "data", "reporting")


def sources(package):
    files = sorted((ROOT / package).rglob("*.py"))
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in files]


def imports(path):
    """Full names of all modules and members imported anywhere in a file, inside functions too."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def packages_in(path):
    parts = [name.split(".") for name in imports(path)]
    return {part[1] for part in parts if part[0] == "tasks" and len(part) > 1} & PACKAGES


@pytest.mark.parametrize("path", sources("dcls"))
def test_the_library_stands_alone(path):
    found = {name.split(".")[0] for name in imports(path)}
    allowed = ALLOWED_IN_DCLS | (ALLOWED_IN_GPU if path.parent.name == "gpu" else set())
    assert found - allowed - set(sys.stdlib_module_names) == set()


@pytest.mark.parametrize("path", sources("tasks"))
def test_a_task_package_knows_no_other_and_shared_packages_know_none(path):
    package = path.relative_to(ROOT / "tasks").parts[0]
    if package in PACKAGES:
        assert packages_in(path) <= {package}
    if package in SHARED:
        assert packages_in(path) == set()


@pytest.mark.parametrize("path", [*sources("tasks"), *sources("dcls")])
def test_nothing_imports_the_entry_point_or_the_configs(path):
    names = set(imports(path))
    assert not {name for name in names if name == "conf" or name.startswith("conf.")}
    if path.relative_to(ROOT).as_posix() != "tasks/run.py":
        assert not {name for name in names if name.startswith("tasks.run.")}


def data_protocols(source):
    """Names of the runtime-checkable protocols of a source text that may have data members.

    A property is one too, for an attribute can stand in for it; so may be what is inherited.
    """
    tree = ast.parse(source)
    calls = [
        node.args for node in ast.walk(tree) if isinstance(node, ast.Call) and marks(node.func)
    ]
    found = [ast.unparse(arguments[0]) for arguments in calls]
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any(map(marks, node.decorator_list)):
            bases = [ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases]
            if bases != ["Protocol"] or not all(map(is_method_or_text, node.body)):
                found.append(node.name)
    return found


def marks(decorator):
    return ast.unparse(decorator).split(".")[-1] == "runtime_checkable"


def is_method_or_text(item):
    if isinstance(item, ast.FunctionDef):
        return not item.decorator_list
    return isinstance(item, ast.Pass) or (
        isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)
    )


@pytest.mark.parametrize("path", [*sources("tasks"), *sources("dcls")])
def test_no_decision_depends_on_a_protocol_with_data(path):
    """From Python 3.12 on `isinstance` with one does not find what an `nn.Module` registers."""
    assert data_protocols(path.read_text()) == []


@pytest.mark.parametrize(
    "body",
    ["size: int", "size = 3", "@property\n    def size(self) -> int: ..."],
    ids=["annotation", "assignment", "property"],
)
def test_protocols_with_data_are_found(body):
    assert data_protocols(f"@typing.runtime_checkable\nclass A(Protocol):\n    {body}\n") == ["A"]
    assert data_protocols(f"class A(Protocol):\n    {body}\n") == []


def test_protocols_that_may_have_data_are_found():
    assert data_protocols("@runtime_checkable\nclass A(B, Protocol):\n    ...\n") == ["A"]
    assert data_protocols("class A(Protocol):\n    size: int\nB = runtime_checkable(A)\n") == ["A"]
    methods = "@runtime_checkable\nclass A(Protocol[T]):\n    '''Text.'''\n    def f(self): ...\n"
    assert data_protocols(methods) == []


def test_imports_are_found_wherever_they_stand(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    file = tmp_path / "tasks" / "classification" / "task.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "import lightning.pytorch as pl\nfrom . import data\nfrom ..detection import boxes\n"
        "def late():\n    from tasks.segmentation.task import Task\n"
    )
    assert set(imports(file)) == {
        "lightning.pytorch",
        "tasks.classification.data",
        "tasks.detection.boxes",
        "tasks.segmentation.task.Task",
    }
    assert packages_in(file) == {"classification", "detection", "segmentation"}


NAMES = {path.stem for path in (ROOT / "conf/task").glob("*.yaml")} - {"robustness"}


@pytest.mark.parametrize("path", sources("tasks"))
def test_no_task_is_named_outside_its_package(path):
    if path.relative_to(ROOT / "tasks").parts[0] in ("classification", "segmentation", "detection"):
        return
    tree = ast.parse(path.read_text())
    texts = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
    assert not texts & NAMES

"""Claims about the import statements: the order of the layers, and who may say what."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = (
    ("types", "errors", "ops", "runtime"),
    ("models", "data", "dynamic", "pretrained"),
    ("build", "model_file", "convert", "evaluation"),
    ("learning",),
    ("benchmark",),
    ("cli",),
)
# Packages of one layer that may not know each other.
SIBLINGS = ("models", "data", "dynamic", "pretrained")
LAYER_OF = {name: i for i, names in enumerate(LAYERS) for name in names}


def _module(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_module(p): p for p in sorted((ROOT / "jaxseg").rglob("*.py"))}
OUTSIDE = sorted([*(ROOT / "configs").rglob("*.py"), *(ROOT / "launch").rglob("*.py")])


def _imports(path):
    """Return all modules that a file names in its import statements."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return set().union(*(_named(node, path) for node in nodes))


def _named(node, path):
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if not isinstance(node, ast.ImportFrom):
        return set()
    assert node.level == 0, f"{path} has a relative import"
    parts = {f"{node.module}.{alias.name}" for alias in node.names}
    # `from package import module` is about the module, `from module import name` not.
    return parts if parts <= MODULES.keys() else parts | {node.module}


_NOT_ASKED_FOR = {"tensorflow", "torch", "torchvision", "onnx", "onnxruntime"}
IMPORTS = {name: _imports(path) for name, path in MODULES.items()}


def _inside(name):
    """Return the modules of jaxseg that a module imports."""
    return {found for found in IMPORTS[name] if found in MODULES} - {"jaxseg", name}


def _package(module):
    return module.split(".")[1]


def _roots(found):
    return {name.split(".")[0] for name in found}


def test_every_module_has_a_layer():
    unknown = {_package(m) for m in MODULES if m != "jaxseg"} - LAYER_OF.keys()
    assert not unknown, "put new packages into a layer"


@pytest.mark.parametrize("name", [m for m in MODULES if m != "jaxseg"])
def test_imports_point_down(name):
    mine = _package(name)
    for found in _inside(name):
        other = _package(found)
        assert LAYER_OF[other] <= LAYER_OF[mine], f"{name} imports {found} from above"
        if mine in SIBLINGS and other in SIBLINGS:
            assert mine == other, f"{name} imports its sibling {found}"


def test_types_and_errors_import_nothing_of_ours():
    assert not _inside("jaxseg.types") and not _inside("jaxseg.errors")


def test_ops_does_not_import_runtime():
    for name in MODULES:
        if name.startswith("jaxseg.ops"):
            assert not {m for m in _inside(name) if _package(m) == "runtime"}, name


def test_the_import_graph_has_no_cycle():
    graph = {name: _inside(name) for name in MODULES}
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(
    "words, home",
    [
        (r"\bpmap\b", "jaxseg.runtime.parallel"),
        (r"\borbax\.|import orbax|from orbax", "jaxseg.runtime.checkpoint"),
        (r"^\s*import cv2\b|from cv2\b", "jaxseg.data.opencv"),
    ],
)
def test_only_one_module_says(words, home):
    assert re.search(words, MODULES[home].read_text(encoding="utf-8"), re.MULTILINE)
    others = [
        name
        for name, path in MODULES.items()
        if name != home and re.search(words, _code(path), re.MULTILINE)
    ]
    assert not others


def _code(path):
    """Return a file without its comments and docstrings, and without plain strings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.unparse(tree)


def test_no_module_imports_what_is_not_asked_for():
    for name, found in IMPORTS.items():
        assert not _roots(found) & _NOT_ASKED_FOR, name


def test_nothing_imports_tests_launch_or_configs():
    for name, found in IMPORTS.items():
        assert not _roots(found) & {"tests", "launch", "configs"}, name


def test_configs_and_launch_import_nothing_of_ours():
    assert OUTSIDE
    for path in OUTSIDE:
        assert "jaxseg" not in _roots(_imports(path)), path


def test_inits_are_empty():
    for name, path in MODULES.items():
        if path.name == "__init__.py" and name not in ("jaxseg", "jaxseg.dynamic"):
            body = ast.parse(path.read_text(encoding="utf-8")).body
            assert len(body) <= 1 and not IMPORTS[name], name


def test_commands_import_nothing_heavy_before_they_run():
    heavy = {"jax", "numpy", "cv2", "flax", "optax", "absl", "ml_collections", "scipy"}
    for name, path in MODULES.items():
        if not name.startswith("jaxseg.cli."):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            found = _named(node, path)
            assert not _roots(found) & heavy, f"{name} imports {found} before it runs"
            ours = {m for m in found & MODULES.keys() if not m.startswith("jaxseg.cli")}
            assert ours <= {"jaxseg", "jaxseg.errors"}, f"{name} imports {ours} early"

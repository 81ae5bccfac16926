"""What the stubs of the compiled modules say is what those modules are."""

import ast
import importlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "services" / "backpack_streams"
SOURCES = sorted(PACKAGE.rglob("_quick_*.c"))


def described(body: list[ast.stmt]) -> set[str]:
    """The names that a stub gives a module or a class, without the special ones that every type has."""
    found = {node.name for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    return {name for name in found if not name.startswith("__")}


def named(what: object) -> set[str]:
    return {name for name in vars(what) if not name.startswith("__")}


def test_there_are_compiled_modules() -> None:
    assert len(SOURCES) >= 3


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_each_compiled_module_has_a_stub(source: Path) -> None:
    stub = source.with_suffix(".pyi")
    assert ast.get_docstring(ast.parse(stub.read_text("utf-8")))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_stub_names_what_the_module_has(source: Path) -> None:
    name = ".".join(source.relative_to(PACKAGE.parent).with_suffix("").parts)
    try:
        module = importlib.import_module(name)
    except ImportError:
        pytest.skip("no C compiler was at hand when the project was installed")
    stub = ast.parse(source.with_suffix(".pyi").read_text("utf-8"))
    assert described(stub.body) == named(module)
    for node in stub.body:
        if isinstance(node, ast.ClassDef):
            assert described(node.body) == named(getattr(module, node.name))
        elif isinstance(node, ast.FunctionDef):
            said = getattr(module, node.name).__doc__.partition(" -> ")[0]  # the signature, in words: C has no other
            words = [argument.arg for argument in node.args.posonlyargs]
            assert said == f"{node.name}({', '.join(words)})"

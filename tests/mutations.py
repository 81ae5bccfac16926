"""Mutation tests: change one place of the sequence logic at a time; each change must make a unit test fail.

    make test-mutations [ARGS='sequencing.chain']

A mutation exists only in the memory of the process that tests it: no file is changed. Mutations without a visible effect are listed
in equivalent_mutations.toml, each with its reason. Exit code 1 if another one survives, or if a row there is out of date.
"""

import ast
import contextlib
import copy
import importlib.abc
import importlib.util
import os
import resource
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final

import pytest

TESTS: Final = Path(__file__).parent
PACKAGE: Final = TESTS.parent / "services" / "backpack_streams"
EQUIVALENT: Final = TESTS / "equivalent_mutations.toml"
CPU_SECONDS_AT_MOST: Final = 30
MEMORY_AT_MOST: Final = 1 << 30
"""A mutation may make a test run forever, or use unlimited memory: that is detected too."""

_BOOKS: Final = (
    "books/test_market_book.py",
    "books/test_market_book_doubts.py",
    "books/test_market_book_restarts.py",
    "books/test_wrong_books.py",
    "books/test_books_ahead.py",
    "books/test_market_book_stateful.py",
)
_FEED: Final = (
    *(f"feed/test_stream_feed{part}.py" for part in ("", "_holes", "_sequences", "_latest", "_coverage", "_stateful")),
    "feed/test_candle_feed.py",
)
MODULES: Final = {
    "sequencing.chain": ("sequencing/test_chain.py", *_BOOKS),
    "books.market_book": _BOOKS,
    "sequencing.restart": ("sequencing/test_restart.py", *_BOOKS),
    "books.update_buffer": ("books/test_update_buffer.py", *_BOOKS),
    "books.distinct": ("books/test_distinct.py",),
    "sequencing.spans": ("sequencing/test_spans.py", "sequencing/test_trade_order.py", "books/test_distinct.py"),
    "sequencing.trade_order": ("sequencing/test_trade_order.py",),
    "sequencing.reordering": ("sequencing/test_reordering.py",),
    "sequencing.watermarks": ("sequencing/test_watermark_records.py",),
    "feed.sequence": ("feed/test_feed_sequence.py", *_FEED),
}
"""The modules to change, each with the tests that must fail, its own tests first."""

_OTHERWISE: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_OTHER_FUNCTION: Final = {
    "max": "min",
    "min": "max",
    "any": "all",
    "all": "any",
    "bisect_left": "bisect_right",
    "bisect_right": "bisect_left",
}


@dataclass(frozen=True)
class Mutation:
    """One change of one module."""

    module: str
    where: str
    """The function, and the original statement."""
    becomes: str
    code: CodeType

    @property
    def name(self) -> str:
        """The name in the list of equivalent mutations."""
        return f"{self.where} => {self.becomes}"


def variants(node: ast.AST) -> Iterator[ast.AST]:
    """The possible replacements of this node."""
    match node:
        case ast.Compare():
            for at, operator in enumerate(node.ops):
                for other in _OTHERWISE[type(operator)]:
                    changed = copy.copy(node)
                    changed.ops = [*node.ops[:at], other(), *node.ops[at + 1 :]]
                    yield changed
        case ast.BoolOp(op, values):
            yield ast.BoolOp(ast.And() if isinstance(op, ast.Or) else ast.Or(), values)
        case ast.UnaryOp(ast.Not(), operand):
            yield operand
        case ast.BinOp(left, ast.Add() | ast.Sub() as op, right):
            yield ast.BinOp(left, ast.Sub() if isinstance(op, ast.Add) else ast.Add(), right)
        case ast.Constant(bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(int() as value):
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)
        case ast.Call(ast.Name(name), arguments, keywords) if name in _OTHER_FUNCTION:
            yield ast.Call(ast.Name(_OTHER_FUNCTION[name], ast.Load()), arguments, keywords)


def conditions(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The fields of a node that are used as a condition, if no other variant negates them."""
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        yield "test", node.test


def places(function: ast.AST) -> Iterator[tuple[Any, Any, ast.AST, ast.AST]]:
    """Holder, field or index, old node and new node, for every place below a node."""
    for parent in ast.walk(function):
        for name, value in ast.iter_fields(parent):
            if isinstance(parent, ast.arg | ast.AnnAssign) and name == "annotation":
                continue
            if isinstance(value, list):
                for at, child in enumerate(value):
                    if isinstance(child, ast.AST):
                        yield from ((value, at, child, other) for other in variants(child))
                    if name in ("body", "orelse") and _does_something(child):
                        yield value, at, child, ast.Pass()
            elif isinstance(value, ast.AST) and not isinstance(parent, ast.JoinedStr | ast.FormattedValue):
                yield from ((parent, name, value, other) for other in variants(value))
        for name, test in conditions(parent):
            if isinstance(test, ast.Name | ast.Attribute | ast.Call | ast.BoolOp):
                yield parent, name, test, ast.UnaryOp(ast.Not(), test)


def _does_something(node: object) -> bool:
    """Whether removing this statement is a mutation: it changes state or calls something."""
    match node:
        case ast.AugAssign() | ast.Expr(ast.Call()):
            return True
        case ast.Assign([ast.Attribute() | ast.Subscript() | ast.Tuple()]):
            return True
        case _:
            return False


def mutations(module: str) -> Iterator[Mutation]:
    """Every mutation of a module. A number distinguishes equal statements of one function."""
    path = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    tree = ast.parse(path.read_text("utf-8"))
    counts: Counter[tuple[str, str]] = Counter()
    for where, function in _functions(tree):
        for holder, field, was, other in places(function):
            _put(holder, field, other)
            code = compile(ast.fix_missing_locations(tree), str(path), "exec")
            becomes = f"{ast.unparse(was).splitlines()[0]} -> {ast.unparse(other).splitlines()[0]}"
            _put(holder, field, was)
            counts[where, becomes] += 1
            number = counts[where, becomes]
            yield Mutation(module, where, becomes if number == 1 else f"{becomes} ({number})", code)


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Functions and methods with their names, and the fields of a class; without code that only describes itself."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, ast.Module(node.body, [])
        elif isinstance(node, ast.ClassDef):
            for part in node.body:
                if isinstance(part, ast.FunctionDef) and part.name != "__repr__":
                    yield f"{node.name}.{part.name}", ast.Module(part.body, [])
                elif isinstance(part, ast.AnnAssign) and part.value is not None:
                    yield node.name, ast.Module([part], [])


def _put(holder: Any, field: Any, node: ast.AST) -> None:
    if isinstance(holder, list):
        holder[field] = node
    else:
        setattr(holder, field, node)


class Planted(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Returns the mutated module when it is imported."""

    def __init__(self, mutation: Mutation) -> None:
        self._name = f"{PACKAGE.name}.{mutation.module}"
        self._code = mutation.code

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(name, self) if name == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, module.__dict__)


def preload() -> None:
    """Import the dependencies of the tests once, for all children; each child imports our modules again."""
    for name in ("hypothesis.stateful", f"{PACKAGE.name}.embedded", f"{PACKAGE.name}.feed.stream_feed"):
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE.name]:
        del sys.modules[name]


def start(mutation: Mutation | None, files: Sequence[str]) -> int:
    """Run the tests in a child process, until the first failure. Return its id; its exit code is 0 if all pass."""
    child = os.fork()
    if child:
        return child
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS_AT_MOST, CPU_SECONDS_AT_MOST))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_AT_MOST, MEMORY_AT_MOST))
    if mutation is not None:
        sys.meta_path.insert(0, Planted(mutation))
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *(str(TESTS / "unit" / name) for name in files)])
    os._exit(int(code))


def survivors(work: Sequence[tuple[Mutation, Sequence[str]]], at_once: int) -> Iterator[Mutation]:
    """The mutations that no test detected, each as soon as that is known."""
    running: dict[int, Mutation] = {}
    waiting = list(reversed(work))
    while waiting or running:
        while waiting and len(running) < at_once:
            mutation, files = waiting.pop()
            running[start(mutation, files)] = mutation
        child, status = os.wait()
        mutation = running.pop(child)
        if status == 0:
            yield mutation


def judge(module: str, known: Mapping[str, str], at_once: int) -> bool:
    """Test the mutations of a module and print the result. Return whether all is well."""
    work = [(mutation, MODULES[module]) for mutation in mutations(module)]
    begin = time.monotonic()
    survived, unknown = set(), 0
    for mutation in survivors(work, at_once):
        survived.add(mutation.name)
        if mutation.name not in known:
            unknown += 1
            _say(f"  survived: {mutation.name}")
    outdated = [name for name in known if name not in survived]
    for name in outdated:
        _say(f"  caught, or no longer there, so not for {EQUIVALENT.name}: {name}")
    _say(
        f"{module}: {len(work)} mutations, {len(work) - len(survived)} caught, {len(survived) - unknown} equivalent, "
        f"{unknown} survived; {time.monotonic() - begin:.0f} s"
    )
    return not (unknown or outdated)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(modules: Sequence[str]) -> int:
    """Test the named modules, or all."""
    unheard_of = [module for module in modules if module not in MODULES]
    if unheard_of:
        _say(f"no mutations of {unheard_of[0]}: name some of {', '.join(MODULES)}, or none for all")
        return 2
    chosen = list(modules) or list(MODULES)
    preload()
    _, status = os.waitpid(start(None, sorted({name for module in chosen for name in MODULES[module]})), 0)
    if status:
        _say("the tests fail without any mutation: make test-unit says which")
        return 1
    known = tomllib.loads(EQUIVALENT.read_text("utf-8"))
    verdicts = [judge(module, known.get(module, {}), os.cpu_count() or 1) for module in chosen]
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    os.environ["HYPOTHESIS_PROFILE"] = "mutations"
    sys.exit(main(sys.argv[1:]))

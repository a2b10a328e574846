"""Find which mapped columns the code writes and which it reads, by names and their types.

A variable's class is taken from its annotation, from `select(Customer)`, `Customer(…)`, `db.get(Customer, …)` or a function whose return
annotation names the class, and from `self` in a mapped class. Otherwise the use counts for every mapped class that the module names and
that has such a column. Templates have no classes: there `.declined_at` is a read of each column of this name.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.house.test_rules import nodes

Column = tuple[str, str]
"""(class, column)"""


@dataclass
class Uses:
    written: dict[Column, set[str]] = field(default_factory=lambda: defaultdict(set))
    read: dict[Column, set[str]] = field(default_factory=lambda: defaultdict(set))


class Reader:
    """`models`: class → columns. `homes`: class → the module that maps it. `kinds`: what a `Record` is called → the class it becomes."""

    def __init__(self, models: dict[str, set[str]], homes: dict[str, str], kinds: dict[str, str]) -> None:
        self.models, self.homes, self.kinds, self.uses = models, homes, kinds, Uses()
        self.returns: dict[str, set[str]] = {}
        self.attributes: dict[str, set[str]] = {}
        self.spreads: dict[str, set[str]] = {}
        self.passed: dict[str, set[str]] = {}

    def read_all(self, trees: dict[str, ast.Module], templates: Iterable[str] = ()) -> Uses:
        for tree in trees.values():
            for node in nodes(tree):
                if isinstance(node, ast.FunctionDef) and node.returns is not None:
                    self.returns.setdefault(node.name, set()).update(self._named_in(node.returns))
                if isinstance(node, ast.FunctionDef) and node.args.kwarg:  # def grant(…, **more): Grant(…, **more)
                    for call in nodes(node):
                        if (
                            isinstance(call, ast.Call)
                            and last_word(call.func) in self.models
                            and any(keyword.arg is None and last_word(keyword.value) == node.args.kwarg.arg for keyword in call.keywords)
                        ):
                            self.spreads.setdefault(node.name, set()).add(last_word(call.func))
                elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):  # a field of a dataclass: `paid.payment`
                    self.attributes.setdefault(node.target.id, set()).update(self._named_in(node.annotation))
        for call in (node for tree in trees.values() for node in nodes(tree) if isinstance(node, ast.Call)):
            words = {keyword.arg or "**" for keyword in call.keywords} | ({"*"} if call.args else set())
            self.passed.setdefault(last_word(call.func), set()).update(words)
        for name, tree in trees.items():
            _Module(self, name, tree).visit_all()
        for name in templates:  # `Model.column`: a template says nothing of types (template_reads.py)
            model, column = name.split(".")
            self.uses.read[model, column].add("a template")
        return self.uses

    def _named_in(self, node: ast.AST | None) -> set[str]:
        """Return the mapped classes that an expression or an annotation names."""
        if node is None:
            return set()
        found = {last_word(item) for item in ast.walk(node)}
        for item in ast.walk(node):
            if isinstance(item, ast.Constant) and isinstance(item.value, str):
                found |= set(re.findall(r"\w+", item.value))
        return found & set(self.models)


class _Module:
    def __init__(self, reader: Reader, name: str, tree: ast.Module) -> None:
        self.reader, self.name, self.tree = reader, name, tree
        here = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        self.known = {model for model, home in reader.homes.items() if home == here}  # classes that the module names at all
        for node in nodes(tree):
            if isinstance(node, ast.ImportFrom):
                self.known |= {item.name for item in node.names if reader.homes.get(item.name) == node.module}
            elif isinstance(node, ast.Call):  # what a function returns is known too, without its class being named
                self.known |= reader.returns.get(last_word(node.func), set())
            elif isinstance(node, ast.Attribute):
                self.known |= reader.attributes.get(node.attr, set())
        called = [node for node in nodes(tree) if isinstance(node, ast.Call)]
        self.gets_by_name = any(last_word(node.func) == "getattr" for node in called)
        rows = [arg for node in called if last_word(node.func) == "values" for arg in node.args if isinstance(arg, ast.Dict)]
        computed = [key for row in rows for key in row.keys]
        self.sets_by_name = any(last_word(node.func) == "setattr" for node in called)
        self.sets_by_name |= not all(isinstance(item, ast.Constant) for item in computed)

    def visit_all(self) -> None:
        self.optional: dict[int, tuple[str, set[str]]] = {}  # of each call in a function: its name, and parameters with a default
        for function in (node for node in nodes(self.tree) if isinstance(node, ast.FunctionDef)):
            named = {item.arg for item, usual in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True) if usual is not None}
            for node in nodes(function):
                if isinstance(node, ast.Call):
                    self.optional[id(node)] = (function.name, named)
        self._visit(self.tree, {}, None)

    def _visit(self, node: ast.AST, types: dict[str, set[str]], owner: str | None) -> None:
        if isinstance(node, ast.ClassDef):
            self._note_shape(node)
            inner = node.name if node.name in self.reader.models else None
            for child in node.body:
                if inner and isinstance(child, ast.Assign | ast.AnnAssign):
                    continue  # the declaration itself, and the table's arguments
                self._visit(child, types, inner)
            return
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            types = {**types, **self._parameters(node, owner)}
            if isinstance(node, ast.FunctionDef):
                types |= self._locals(node, types)
        self._note(node, types)
        for child in ast.iter_child_nodes(node):
            self._visit(child, types, owner)

    # --- what is known of names

    def _parameters(self, node: ast.FunctionDef | ast.Lambda, owner: str | None) -> dict[str, set[str]]:
        out = {}
        for item in (*node.args.args, *node.args.kwonlyargs):
            if item.arg in ("self", "cls") and owner:
                out[item.arg] = {owner}
            elif item.annotation is not None:
                out[item.arg] = self.reader._named_in(item.annotation) or {""}
        return out

    def _locals(self, node: ast.FunctionDef, types: dict[str, set[str]]) -> dict[str, set[str]]:
        out: dict[str, set[str]] = {}
        for _ in range(2):  # a name may come from one that stands below it in the walk
            for item in nodes(node):
                if isinstance(item, ast.Assign):
                    pairs = [(target, item.value) for target in item.targets]
                elif isinstance(item, ast.AnnAssign) and item.value is not None:
                    pairs = [(item.target, item.annotation)]
                elif isinstance(item, ast.For | ast.comprehension):
                    pairs = [(item.target, item.iter)]
                elif isinstance(item, ast.NamedExpr):
                    pairs = [(item.target, item.value)]
                else:
                    continue
                for target, value in pairs:
                    for name, part in _unpacked(target, value):
                        found = self._class_of(part, {**types, **out})
                        if found:
                            out.setdefault(name, set()).update(found)
        return out

    def _class_of(self, node: ast.AST, types: dict[str, set[str]]) -> set[str]:
        """Return the mapped classes that an expression may be an instance of, or a collection of."""
        if isinstance(node, ast.Name):
            return types.get(node.id, {node.id} & set(self.reader.models))
        if isinstance(node, ast.Attribute):
            return self.reader.attributes.get(node.attr, set())
        if isinstance(node, ast.Subscript):
            return self._class_of(node.value, types)
        if isinstance(node, ast.Await | ast.Starred):
            return self._class_of(node.value, types)
        if isinstance(node, ast.BoolOp | ast.IfExp):
            parts = node.values if isinstance(node, ast.BoolOp) else [node.body, node.orelse]
            return set().union(*(self._class_of(part, types) for part in parts))
        if isinstance(node, ast.ListComp | ast.GeneratorExp):
            return self._class_of(node.elt, types)
        if isinstance(node, ast.Call):
            name = last_word(node.func)
            if name in self.reader.models:
                return {name}
            if isinstance(node.func, ast.Attribute) and (named := self.reader._named_in(node.func.value)):
                return named  # db.scalars(select(Customer)…).one()
            below = set().union(*(self._class_of(item, types) for item in _inside(node)))
            return self.reader._named_in(node) or self.reader.returns.get(name) or below
        return set()

    # --- uses

    def _note_shape(self, node: ast.ClassDef) -> None:
        """Record the reads of an API shape that is created `from_attributes=True`, or by its `model_fields`."""
        words = {word.arg for item in ast.walk(node) if isinstance(item, ast.Call) for word in item.keywords}
        if "from_attributes" in words or any(isinstance(item, ast.Attribute) and item.attr == "model_fields" for item in ast.walk(node)):
            rows = self.reader._named_in(ast.Module([item for item in node.body if isinstance(item, ast.FunctionDef)], []))
            for item in node.body:
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                    self._add(self.reader.uses.read, rows, item.target.id, item)

    def _note(self, node: ast.AST, types: dict[str, set[str]]) -> None:
        if isinstance(node, ast.Attribute):
            found = self._owners(node.value, node.attr, types)
            self._add(self.reader.uses.read if isinstance(node.ctx, ast.Load) else self.reader.uses.written, found, node.attr, node)
        elif isinstance(node, ast.Call):
            self._note_call(node, types)
        elif isinstance(node, ast.Dict):
            for key in node.keys:
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    self._named(key.value, key, self.known if self._is_spread_here() else set())
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and isinstance(node.slice, ast.Constant):
            self._named(str(node.slice.value), node, self.known if self._is_spread_here() else set())
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if self.sets_by_name:
                self._named(node.value, node, self.known)
            if self.gets_by_name:
                self._add(self.reader.uses.read, self.known, node.value, node)

    def _note_call(self, node: ast.Call, types: dict[str, set[str]]) -> None:
        name = last_word(node.func)
        keywords = {keyword.arg for keyword in node.keywords if keyword.arg}
        if name in self.reader.models:
            for word in node.keywords:
                if word.arg and not self._is_never_given(node, word.value):
                    self._named(word.arg, node, {name})
        elif name in self.reader.spreads:
            for keyword in keywords:
                self._named(keyword, node, self.reader.spreads[name])
        elif name == "values":
            for keyword in keywords:
                self._named(keyword, node, self.reader._named_in(node.func) or self.known)
        elif name == "write" and node.args and isinstance(node.args[0], ast.Name):  # billing/imports: batch.write(Customer, …)
            for keyword in keywords | {"account_id"}:  # which `write` itself sets, in every new row
                self._named(keyword, node, {node.args[0].id} & set(self.reader.models))
        elif name == "Record" and node.args and isinstance(node.args[0], ast.Constant):
            model = self.reader.kinds.get(str(node.args[0].value))
            for part in node.args[1:]:
                for key in (key for item in ast.walk(part) if isinstance(item, ast.Dict) for key in item.keys):
                    if model and isinstance(key, ast.Constant):
                        self._named(str(key.value), node, {model})

    def _is_never_given(self, call: ast.Call, value: ast.AST) -> bool:
        """Whether a parameter such as `tax_rates` in `Business(tax_rates=tax_rates or {})` is passed by no caller."""
        function, optional = self.optional.get(id(call), ("", set()))
        names = {item.id for item in ast.walk(value) if isinstance(item, ast.Name)} & optional
        given = self.reader.passed.get(function, set())
        return bool(names) and "**" not in given and not names & given

    def _is_spread_here(self) -> bool:
        """Whether the module passes dictionaries to columns: `Customer(**values)`, `.values(rows)`, `insert(Customer), rows`, setattr."""
        if not hasattr(self, "_spreads"):
            self._spreads = self.sets_by_name or any(
                isinstance(node, ast.Call)
                and (
                    (last_word(node.func) in self.reader.models and any(keyword.arg is None for keyword in node.keywords))
                    or (last_word(node.func) in ("values", "insert", "insert_once", "write") and bool(node.args))
                )
                for node in nodes(self.tree)
            )
        return self._spreads

    def _owners(self, value: ast.AST, column: str, types: dict[str, set[str]]) -> set[str]:
        """Return the classes whose column this attribute may be. Names known to be something else are not guessed."""
        if isinstance(value, ast.Name) and value.id in types:
            return types[value.id]
        found = self._class_of(value, types)
        return found or self.known

    def _named(self, column: str, node: ast.AST, models: set[str]) -> None:
        self._add(self.reader.uses.written, models, column, node)

    def _add(self, into: dict[Column, set[str]], models: Iterable[str], column: str, node: ast.AST) -> None:
        for model in models:
            if column in self.reader.models.get(model, ()):
                into[model, column].add(f"{self.name}:{getattr(node, 'lineno', 0)}")


def last_word(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _inside(node: ast.Call) -> Iterator[ast.AST]:
    """Return what a call is made on, and its arguments: `db.scalars(…).all()`, `sorted(rows)`, `list(found.values())`."""
    if isinstance(node.func, ast.Attribute):
        yield node.func.value
    yield from node.args


def _unpacked(target: ast.AST, value: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple | ast.List):
        fits = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts)
        parts = value.elts if fits else [value] * len(target.elts)  # type: ignore[attr-defined]
        for item, part in zip(target.elts, parts, strict=True):
            yield from _unpacked(item, part)


def columns_of(base: Any) -> dict[str, set[str]]:
    """Map mapped classes to their columns, without owner keys and without the version column of the mapper."""
    out: dict[str, set[str]] = {}
    for mapper in base.registry.mappers:
        kept = {mapper.version_id_col.key} if mapper.version_id_col is not None else set()
        out[mapper.class_.__name__] = (
            {item.key for item in mapper.column_attrs} - {"id", "business_id", "customer_id", "identity_id"} - kept
        )
    return out

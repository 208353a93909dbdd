"""Small questions about nodes that every reader asks."""

from __future__ import annotations

from pg_architect.safety import parse
from pg_architect.safety.judgement import Refused
from pg_architect.safety.parse import Tree

# Where something stands in the text says nothing about what it means.
_PLACES = frozenset({"location", "arg_location", "stmt_location", "stmt_len"})


def only(node: Tree, *known: str) -> None:
    """Refused where a field that is not ``known`` is set to anything but its zero, None or empty default."""
    for name in node.__slots__:
        if name in known or name in _PLACES:
            continue
        value = getattr(node, name)
        if value and value != "\0" and not (hasattr(value, "value") and value.value == 0):
            raise Refused("not-understood", f"{name} of {parse.kind_of(node)} is not understood")


def enum(value: Tree) -> str:
    """The name of an enumerated value."""
    return str(value.name)


def restrict_only(node: Tree) -> None:
    """Refused for CASCADE."""
    if node.behavior.name != "DROP_RESTRICT":
        raise Refused("cascade", "cascade would drop more than is named")


def options(items: tuple[Tree, ...] | None) -> dict[str, Tree | None]:
    """A list of DefElem nodes by name, with its namespace if it has one; Refused for a name given twice."""
    found: dict[str, Tree | None] = {}
    for item in items or ():
        name = f"{item.defnamespace}.{item.defname}" if item.defnamespace else str(item.defname)
        if name in found:
            raise Refused("not-understood", f"option {name} is given twice")
        found[name] = item.arg
    return found


def value_text(node: Tree | None) -> str | None:
    """The text of an option's value: a number, a word or a string; None without one."""
    if node is None:
        return None
    kind = parse.kind_of(node)
    if kind == "Integer":
        return str(node.ival)
    if kind == "Float":
        return str(node.fval)
    if kind == "Boolean":
        return "true" if node.boolval else "false"
    if kind == "String":
        return str(node.sval)
    if kind == "A_Const" and not node.isnull:
        return value_text(node.val)
    if kind == "TypeName":
        return ".".join(parse.strings(node.names) or ["?"])
    raise Refused("not-understood", f"a value of kind {kind} is not understood here")


def type_text(type_name: Tree) -> str:
    """A TypeName node as SQL."""
    tree = parse.parse_one("alter table t alter column c type int")
    tree.cmds[0].def_.typeName = type_name
    return parse.deparse(tree).split(" TYPE ", 1)[1]


def expression_text(expression: Tree) -> str:
    """The node of an expression as SQL."""
    tree = parse.parse_one("alter table t alter column c set default null")
    tree.cmds[0].def_ = expression
    return parse.deparse(tree).split(" DEFAULT ", 1)[1]

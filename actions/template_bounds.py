"""What keeps a template from making much out of little: bounds on texts, lists, numbers and loops while it is rendered.

A template that was let in has no calls, but text joined with itself doubles with every line, and what a contact's traits
hold is the contact's. So all that can grow is looked at before it is made.
"""

from typing import Any, Final

import jinja2
from jinja2 import nodes
from jinja2.filters import do_join, do_replace, do_sum
from jinja2.runtime import Context
from jinja2.visitor import NodeTransformer

SIZE_MAX: Final = 512 * 1024
NUMBER_MAX: Final = 10**150
# rounds of all loops together
ROUNDS_MAX: Final = 100_000


class TooMuch(jinja2.TemplateError):
    """What would be made is more than any message needs."""


def size_of(value: Any) -> int:
    """Characters, and elements of lists and mappings, all levels counted; as soon as it is over `SIZE_MAX` no further."""
    size, todo = 0, [value]
    while todo and size <= SIZE_MAX:
        one = todo.pop()
        if isinstance(one, str):
            size += len(one)
        elif isinstance(one, dict):
            size += len(one)
            todo += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple):
            size += len(one)
            todo += one
    return size


def bounded(value: Any) -> Any:
    """`value`; raises `TooMuch`."""
    _check(size_of(value))
    return value


def added(left: Any, right: Any) -> None:
    """Raises where `left + right` would be too much, or is of no numbers, texts or lists."""
    if isinstance(left, str) and isinstance(right, str):
        return _check(len(left) + len(right))
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return _check(size_of(left) + size_of(right))
    return multiplied("+", left, right)


def multiplied(operator: str, left: Any, right: Any) -> None:
    """Raises where one of the two is no number, or larger than any that a message needs."""
    if isinstance(left, bool) or not isinstance(left, int | float) or not isinstance(right, int | float):
        raise TooMuch(f"expected numbers on both sides of `{operator}`")
    if any(isinstance(side, int) and abs(side) > NUMBER_MAX for side in (left, right)):
        raise TooMuch(f"expected numbers of at most 150 digits on both sides of `{operator}`")


@jinja2.pass_context
def counted(context: Context, value: Any) -> list[Any]:
    """What a loop goes over; raises when all loops of a message have gone on for too long."""
    items = list(value)
    environment: Any = context.environment
    environment.rounds_left -= len(items)
    if environment.rounds_left < 0:
        raise TooMuch(f"expected at most {ROUNDS_MAX} rounds of all loops together")
    return items


@jinja2.pass_eval_context
def join(eval_ctx: nodes.EvalContext, value: Any, d: str = "", attribute: str | int | None = None) -> str:
    """Jinja's own, of what is not too much."""
    items = list(value)
    _check(size_of(items) + len(str(d)) * len(items))
    joined: str = do_join(eval_ctx, items, d, attribute)
    return joined


@jinja2.pass_eval_context
def replace(eval_ctx: nodes.EvalContext, s: Any, old: str, new: str, count: int | None = None) -> str:
    """The same."""
    text, old = str(s), str(old)
    _check(len(text) + text.count(old) * len(str(new)))
    replaced: str = do_replace(eval_ctx, s, old, new, count)
    return replaced


@jinja2.pass_environment
def sum_(environment: jinja2.Environment, iterable: Any, attribute: str | int | None = None, start: Any = 0) -> Any:
    """The same, of numbers."""
    if not isinstance(start, int | float):
        raise TooMuch("expected a number as `start` of `sum`")
    return do_sum(environment, iterable, attribute, start)


FILTERS: Final = {"bounded": bounded, "counted": counted, "join": join, "replace": replace, "sum": sum_}


def tamed(tree: nodes.Template, environment: jinja2.Environment) -> nodes.Template:
    """The tree of a template in which lists, loops and `~` go by the bounds."""
    tree = _Tamer().visit(tree)
    tree.set_environment(environment)
    return tree


class _Tamer(NodeTransformer):
    """Its methods are called by the kind of node, as Jinja names them."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), "join")

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _filtered(node.iter, "counted")
        return node

    def visit_List(self, node: nodes.List) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, "bounded")

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, "bounded") if node.ctx == "load" else node


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    assert isinstance(node, nodes.Expr)
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _check(size: int) -> None:
    if size > SIZE_MAX:
        raise TooMuch(f"expected at most {SIZE_MAX} characters to be made, got more")

"""Templates of messages: Jinja with nothing but values, `if`, `for` and a few filters.

Invariants:
  * What a template may do is settled when its rule is checked, by looking at its tree: no calls, no imports, no macros,
    no loops within loops within loops, no other filters. So a text that was let in can neither reach beyond the values
    it is given nor run for ever, whatever a contact's traits hold.
  * An undefined value is an error at rendering: no message goes out with a hole in it. `default` is there to say what
    stands in its place.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import jinja2
import jinja2.runtime
import msgspec
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from actions import template_bounds
from schemas.deliveries import TransitionOf
from schemas.transitions import CauseEvent

TEMPLATE_BYTES_MAX = 128 * 1024
RENDERED_BYTES_MAX = 512 * 1024
LOOPS_DEPTH_MAX = 2

# what a template may name
NAMES = ("contact", "event", "segment", "traits", "transition", "unsubscribe_url")
# what there is in those whose keys are always the same; in what is text, nothing
_EVENT = tuple(field.encode_name for field in msgspec.structs.fields(CauseEvent))
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "contact": (),
    "segment": (),
    "unsubscribe_url": (),
    "event": _EVENT,
    "transition": tuple(field.encode_name for field in msgspec.structs.fields(TransitionOf)),
    "transition.event": _EVENT,
}
# how values are escaped: not at all, for HTML, for Slack's mrkdwn
Escape = Literal["", "html", "mrkdwn"]
# none of these makes much out of little, but for `join` and `replace`, which have bounds of their own
FILTERS = (
    "abs", "capitalize", "default", "e", "escape", "first", "float", "int", "join", "last", "length", "lower", "max",
    "min", "replace", "round", "sort", "sum", "title", "trim", "truncate", "unique", "upper", "urlencode",
)  # fmt: skip
_ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign, nodes.Name, nodes.Const,
    nodes.Getattr, nodes.Getitem, nodes.Filter, nodes.Test, nodes.Compare, nodes.Operand, nodes.And, nodes.Or,
    nodes.Not, nodes.CondExpr, nodes.Add, nodes.Sub, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos,
    nodes.Concat, nodes.Tuple, nodes.List, nodes.Mul, nodes.Slice, nodes.Keyword,
)  # fmt: skip


class TemplateError(Exception):
    """A template that can't be taken, or can't be rendered with these values; the message says what to change."""


class _Missing(jinja2.StrictUndefined):
    """What isn't there, called by the name that the template has for it."""

    @property
    def _undefined_message(self) -> str:
        return repr(self._undefined_name)


class _Environment(ImmutableSandboxedEnvironment):
    """Values in, text out; `%` and `*` are for numbers only, as both can blow up text."""

    intercepted_binops = frozenset(("*", "%", "+"))
    rounds_left = 0  # of the loops of the message that is being rendered

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "+":
            template_bounds.added(left, right)
        else:
            template_bounds.multiplied(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Keys of mappings alone (and what a loop knows): `traits.items` is the trait, and no object is let in."""
        if isinstance(obj, jinja2.runtime.LoopContext):
            return super().getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """What is at a key or an index, else undefined; never an attribute."""
        try:
            return obj[argument]
        except (AttributeError, LookupError, TypeError):
            return self.undefined(obj=obj, name=argument)


def _environment(*, autoescape: bool = False, finalize: Callable[[Any], Any] | None = None) -> _Environment:
    environment = _Environment(undefined=_Missing, autoescape=autoescape, finalize=finalize, keep_trailing_newline=True)
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in FILTERS} | template_bounds.FILTERS
    return environment


def _mrkdwn(value: Any) -> str:
    """A value with the three characters that mean something to Slack made plain: no value links, or calls anybody."""
    return str(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_TEXT = _environment()
_BY_ESCAPE = {"": _TEXT, "html": _environment(autoescape=True), "mrkdwn": _environment(finalize=_mrkdwn)}


def check_template(text: str) -> frozenset[str]:
    """The traits that a template asks for, by name; raises `TemplateError` when it is none of ours."""
    if len(text.encode()) > TEMPLATE_BYTES_MAX:
        raise TemplateError(f"expected at most {TEMPLATE_BYTES_MAX} bytes, got {len(text.encode())}")
    try:
        tree = _TEXT.parse(text)
        _check_node(tree, 0, _own_names(tree))
        _TEXT.compile(tree)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(f"{_lower(error.message or 'a syntax error')}, in line {error.lineno}") from None
    except RecursionError:
        raise TemplateError("expected less nesting") from None
    return frozenset(_traits(tree))


def quotes_event(text: str) -> bool:
    """Whether a template that has been checked may say something of the event behind the transition."""
    return any(name.name in ("event", "transition") for name in _TEXT.parse(text).find_all(nodes.Name))


def quotes_link(text: str) -> bool:
    """Whether a template that has been checked has the link that unsubscribes."""
    return any(name.name == "unsubscribe_url" for name in _TEXT.parse(text).find_all(nodes.Name))


def render(text: str, values: Mapping[str, Any], *, escape: Escape = "") -> str:
    """`text` filled in with `values` (those of `NAMES`), which are escaped as `escape` says. Raises `TemplateError`."""
    template = _compiled(text, escape)
    parts: list[str] = []
    size = 0
    _BY_ESCAPE[escape].rounds_left = template_bounds.ROUNDS_MAX
    try:
        for part in template.generate(values):
            size += len(part.encode("utf-8", "replace"))
            if size > RENDERED_BYTES_MAX:
                raise TemplateError(f"expected at most {RENDERED_BYTES_MAX} bytes of text, got more")
            parts.append(part)
    except jinja2.UndefinedError as error:
        hint = "give it a `default`, or leave such contacts out of the segment"
        raise TemplateError(f"a value is missing: {error.message}; {hint}") from None
    except template_bounds.TooMuch as error:
        raise TemplateError(str(error)) from None
    except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise TemplateError(f"{type(error).__name__}: {error}") from None
    return "".join(parts)


_CACHE_MAX = 256
_cache: dict[tuple[str, Escape], jinja2.Template] = {}


def _compiled(text: str, escape: Escape) -> jinja2.Template:
    found = _cache.get((text, escape))
    if found is None:
        check_template(text)
        if len(_cache) >= _CACHE_MAX:
            _cache.pop(next(iter(_cache)))
        environment = _BY_ESCAPE[escape]
        found = environment.from_string(template_bounds.tamed(environment.parse(text), environment))
        _cache[text, escape] = found
    return found


def _own_names(tree: nodes.Template) -> frozenset[str]:
    """Names that the template sets itself, by `set` or `for`."""
    return frozenset(name.name for name in tree.find_all(nodes.Name) if name.ctx == "store") | {"loop"}


def _check_node(node: nodes.Node, loops: int, own: frozenset[str]) -> None:
    line = f"in line {node.lineno}"
    if not isinstance(node, _ALLOWED):
        what = "a call" if isinstance(node, nodes.Call) else f"`{type(node).__name__.lower()}`"
        raise TemplateError(f"expected values, filters, `if` and `for`, got {what}, {line}")
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        raise TemplateError(f"expected a filter that there is, got {node.name!r}{_close(node.name, FILTERS)}, {line}")
    if isinstance(node, nodes.Name) and node.ctx == "load" and node.name not in own and node.name not in NAMES:
        names = " ".join(NAMES)
        raise TemplateError(f"expected one of {names}, got {node.name!r}{_close(node.name, NAMES)}, {line}")
    if isinstance(node, nodes.Getattr | nodes.Getitem):
        _check_field(node, line)
    if isinstance(node, nodes.Name) and node.ctx == "store" and node.name in NAMES:
        raise TemplateError(f"expected a name of its own to set, got {node.name!r}, {line}")
    if isinstance(node, nodes.For):
        loops += 1
        if loops > LOOPS_DEPTH_MAX or node.recursive:
            raise TemplateError(f"expected at most {LOOPS_DEPTH_MAX} loops within each other, got more, {line}")
    for child in node.iter_child_nodes():
        _check_node(child, loops, own)


def _check_field(node: nodes.Getattr | nodes.Getitem, line: str) -> None:
    """Raises where what is asked for is never there: it would be missing of whomever the message is for."""
    of, name = _path(node.node), _key(node)
    fields = _FIELDS.get(of)
    if fields is None or not isinstance(name, str) or name in fields:
        return
    if not fields:
        raise TemplateError(f"expected `{of}` alone, which is text, got `{of}.{name}`, {line}")
    raise TemplateError(f"expected one of {' '.join(fields)} in `{of}`, got {name!r}{_close(name, fields)}, {line}")


def _path(node: nodes.Node) -> str:
    """The names that lead to a value, with dots between; "" where they are not all written out."""
    if isinstance(node, nodes.Name):
        return node.name
    if not isinstance(node, nodes.Getattr | nodes.Getitem):
        return ""
    of, name = _path(node.node), _key(node)
    return f"{of}.{name}" if of and isinstance(name, str) else ""


def _key(node: nodes.Getattr | nodes.Getitem) -> Any:
    """What stands behind the dot or in the brackets; None where that is no constant."""
    if isinstance(node, nodes.Getattr):
        return node.attr
    return node.arg.value if isinstance(node.arg, nodes.Const) else None


def _traits(tree: nodes.Template) -> Iterator[str]:
    """Names after `traits.`; the whole of `traits` can't be asked for, as a delivery carries only what is named."""
    named = 0
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        assert isinstance(node, nodes.Getattr | nodes.Getitem)
        if not (isinstance(node.node, nodes.Name) and node.node.name == "traits"):
            continue
        named += 1
        name = _key(node)
        if not isinstance(name, str):
            raise TemplateError(f"expected the name of a trait in `traits[…]`, in line {node.lineno}")
        yield name
    if named < sum(name.name == "traits" for name in tree.find_all(nodes.Name)):
        raise TemplateError("expected `traits.name` or `traits['name']`, got `traits` alone")


def _close(name: str, names: tuple[str, ...]) -> str:
    found = difflib.get_close_matches(name, names, 1)
    return f" (did you mean {found[0]!r}?)" if found else ""


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")

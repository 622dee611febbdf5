"""What a template may do, and that it can do nothing else."""

from typing import Any

import pytest

from actions.templates import RENDERED_BYTES_MAX, TEMPLATE_BYTES_MAX, TemplateError, check_template, render


def values(**traits: Any) -> dict[str, Any]:
    return {"traits": traits, "contact": "c", "segment": "s", "transition": {}, "event": {"properties": {"n": 3}}}


def test_a_template_names_the_traits_that_it_asks_for() -> None:
    text = "{{ traits.first_name }} {{ traits['group.id'] }} {% if traits.items %}{{ event.properties.n }}{% endif %}"

    assert check_template(text) == {"first_name", "group.id", "items"}


def test_values_are_filled_in() -> None:
    text = "{% for item in traits.items %}{{ item.name | upper }}{% if not loop.last %}, {% endif %}{% endfor %}"

    assert render(text, values(items=[{"name": "tea"}, {"name": "milk"}])) == "TEA, MILK"


def test_a_trait_called_like_a_method_is_the_trait() -> None:
    """Jinja itself would find `dict.items`, `dict.keys` or `dict.values` first."""
    assert render("{{ traits.keys }} {{ traits.values }}", values(keys="a", values=5)) == "a 5"


def test_html_is_escaped_and_text_is_not() -> None:
    given = values(name="<b>Bo & Co</b>")

    assert render("{{ traits.name }}", given, escape="html") == "&lt;b&gt;Bo &amp; Co&lt;/b&gt;"
    assert render("{{ traits.name }}", given) == "<b>Bo & Co</b>"


@pytest.mark.parametrize(
    "text", ["{{ traits.name }}", "{{ traits.a.b }}", "{{ event.properties.nothing }}", "{{ traits.a['x'] }}"]
)
def test_an_undefined_value_is_an_error_and_default_is_the_way_out(text: str) -> None:
    with pytest.raises(TemplateError, match="a value is missing"):
        render(text, values(a={}))
    assert render(text.replace(" }}", " | default('friend') }}"), values(a={})) == "friend"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ ''.__class__.__mro__ }}", None),
        ("{{ traits.x.__class__ }}", None),
        ("{{ traits.x['__class__'] }}", None),
        ("{{ traits.x | attr('__class__') }}", "expected a filter that there is, got 'attr'"),
        ("{{ traits.x.format(5) }}", "got a call"),
        ("{{ range(10) }}", "got a call"),
        ("{{ lipsum() }}", "got a call"),
        ("{{ self }}", "got 'self'"),
        ("{{ config }}", "got 'config'"),
        ("{% include 'x' %}", "got `include`"),
        ("{% import 'x' as y %}", "got `import`"),
        ("{% extends 'x' %}", "got `extends`"),
        ("{% macro m() %}{% endmacro %}", "got `macro`"),
        ("{% block b %}{% endblock %}", "got `block`"),
        ("{{ 'a' * 1000000000 }}", None),
        ("{{ 9 ** 9 ** 9 }}", "got `pow`"),
        ("{{ '%1000000000d' % 1 }}", None),
        ("{{ traits.x | center(1000000000) }}", "expected a filter that there is, got 'center'"),
        ("{% for a in traits.x %}{% for b in a %}{% for c in b %}{% endfor %}{% endfor %}{% endfor %}", "loops within"),
        ("{% for a in traits.x recursive %}{% endfor %}", "loops within"),
        ("{{ traits }}", "got `traits` alone"),
        ("{{ traits[contact] }}", "expected the name of a trait"),
        ("{% set traits = {} %}", "got"),
        ("{{ trait.name }}", "did you mean 'traits'?"),
        ("{{ unclosed", "unexpected"),
        ("x" * (TEMPLATE_BYTES_MAX + 1), "bytes, got"),
        ("{{" + "(" * 5000 + "1" + ")" * 5000 + "}}", "expected"),
    ],
)
def test_nothing_but_values_filters_if_and_for(text: str, expected: str | None) -> None:
    """Refused when the rule is checked, or (`expected` None) at the latest when it is rendered."""
    if expected is not None:
        with pytest.raises(TemplateError) as raised:
            check_template(text)
        assert expected in str(raised.value)
    with pytest.raises(TemplateError):
        render(text, values(x="some text"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ transition.kee }}", "in `transition`, got 'kee' (did you mean 'key'?), in line 1"),
        ("{{ transition['sequence'] }}", "in `transition`, got 'sequence'"),
        (
            "\n{{ event.props.total }}",
            "expected one of name messageId properties propertiesCut in `event`, got 'props'",
        ),
        ("{{ transition.event.message_id }}", "in `transition.event`, got 'message_id' (did you mean 'messageId'?)"),
        ("{{ contact.email }}", "expected `contact` alone, which is text, got `contact.email`"),
        ("{{ segment.id | default('x') }}", "expected `segment` alone"),
    ],
)
def test_what_no_message_ever_has_is_refused_before_one_is_sent(text: str, expected: str) -> None:
    with pytest.raises(TemplateError) as raised:
        check_template(text)

    assert expected in str(raised.value)


def test_what_every_message_has_may_be_asked_for() -> None:
    check_template(
        "{{ transition.event.properties.a.b }} {{ transition.key }} {{ event['messageId'] }} {{ contact[:3] }}"
    )


def test_what_is_missing_is_called_by_its_name() -> None:
    with pytest.raises(TemplateError) as raised:
        render("{{ traits.first_nme }}", values())

    assert str(raised.value).startswith("a value is missing: 'first_nme'; give it a `default`")


def test_what_comes_out_has_a_bound() -> None:
    text = "{% for a in traits.x %}{% for b in traits.x %}{{ traits.long }}{% endfor %}{% endfor %}"

    with pytest.raises(TemplateError, match=f"expected at most {RENDERED_BYTES_MAX} bytes"):
        render(text, values(x=list(range(10_000)), long="y" * 1000))


def test_a_lone_surrogate_in_a_trait_is_no_crash() -> None:
    assert render("{{ traits.x }}", values(x="\ud800")) == "\ud800"


@pytest.mark.parametrize(
    ("value", "expected"),
    [("<!here>", "&lt;!here&gt;"), ("a & b", "a &amp; b"), ('it\'s "so"', 'it\'s "so"'), (5, "5"), ("*b*", "*b*")],
)
def test_for_slack_the_three_characters_that_mean_something_are_escaped(value: Any, expected: str) -> None:
    """No quotes, as Slack would show what stands for them."""
    assert render("<x> {{ traits.x }}", values(x=value), escape="mrkdwn") == f"<x> {expected}"


@pytest.mark.parametrize("escape", ["", "html", "mrkdwn"])
def test_a_hole_is_an_error_however_it_is_escaped(escape: Any) -> None:
    with pytest.raises(TemplateError, match="a value is missing"):
        render("{{ traits.x }}", values(), escape=escape)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{% set a = traits.word %}" + "{% set a = a ~ a %}" * 60 + "{{ a | length }}", "at most 524288 characters"),
        ("{% set a = traits.word %}" + "{% set a = a + a %}" * 60 + "{{ a | length }}", "at most 524288 characters"),
        ("{% set a = traits.list %}" + "{% set a = a + a %}" * 60 + "{{ a | length }}", "at most 524288 characters"),
        ("{% set a = traits.word %}" + "{% set a = [a, a] %}" * 60 + "{{ a | length }}", "at most 524288 characters"),
        ("{% set a = traits.word %}" + "{% set a = (a, a) %}" * 60 + "{{ a | length }}", "at most 524288 characters"),
        ("{% set a = 99999 %}" + "{% set a = a * a %}" * 60 + "{{ a is even }}", "numbers of at most 150 digits"),
        ("{{ traits.long | replace('', traits.long) | length }}", "at most 524288 characters"),
        ("{{ traits.list | join(traits.long) | length }}", "at most 524288 characters"),
        ("{{ traits.lists | sum(start=[]) | length }}", "expected a number as `start` of `sum`"),
        (
            "{% for a in traits.list %}{% for b in traits.list %}{% endfor %}{% endfor %}",
            "rounds of all loops together",
        ),
    ],
)
def test_much_is_not_made_out_of_little(text: str, expected: str) -> None:
    """One message must not take the dispatcher's memory, nor its time: nothing else is sent meanwhile."""
    check_template(text)
    given = values(word="word", long="x" * 60_000, list=[1] * 30_000, lists=[[1]] * 10_000)

    with pytest.raises(TemplateError, match=expected):
        render(text, given)


def test_what_has_bounds_does_what_it_did() -> None:
    given = values(a="<", b=[3, 1], pairs=[["x", 1], ["y", 2]], people=[{"n": "Bo"}, {"n": "Al"}])
    text = (
        "{{ traits.a ~ 1 ~ '&' }} {{ ('<i>' | e) ~ traits.a }} {{ 1 + 2.5 }} {{ traits.b + [5] }} {{ traits.b | sum }} "
        "{% for k, v in traits.pairs if v > 1 %}{{ loop.length }}{{ k }}{% endfor %} {{ 'x' in ('x', 'y') }} "
        "{{ traits.people | join(', ', attribute='n') }} {{ traits.a | replace('<', '>') }}"
    )
    plain, html = render(text, given), render(text, given, escape="html")

    assert plain == "<1& &lt;i&gt;< 3.5 [3, 1, 5] 4 1y True Bo, Al >"
    assert html == "&lt;1&amp; &lt;i&gt;&lt; 3.5 [3, 1, 5] 4 1y True Bo, Al &gt;"

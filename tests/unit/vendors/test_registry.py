"""The list of vendors, and what each of them has to have."""

import importlib
import pkgutil

import pytest

import streams.vendors
from streams.vendors.connection import Connection
from streams.vendors.registry import MODULES, vendor_for
from tests.unit.vendors.payloads import NOW_MS, request

SHARED = {
    *("assembling", "billing", "connection", "connection_reading", "contract", "engagement", "form_fields"),
    *("own_reading", "registry", "schemes", "signing", "sns", "values"),
}


def test_every_module_of_a_vendor_is_in_the_list() -> None:
    """One that isn't could not be named by a connection."""
    there = {module.name for module in pkgutil.iter_modules(streams.vendors.__path__)}

    assert there - SHARED == set(MODULES.values())


@pytest.mark.parametrize("name", MODULES)
def test_a_vendor_has_its_name_a_title_and_a_page_of_its_own(name: str) -> None:
    """The name is in URLs and ids, the title in names of events; its docstring says what the vendor is told to send."""
    vendor = vendor_for(Connection("one", name, ("ONE",)))
    page = importlib.import_module(f"streams.vendors.{MODULES[name]}").__doc__

    assert vendor.name == name
    assert vendor.title
    assert page is not None and "Contact" in page


@pytest.mark.parametrize("name", MODULES)
def test_what_a_sample_says_is_read(name: str) -> None:
    """Without being proved: some can be signed by the vendor alone."""
    vendor = vendor_for(Connection("one", name, ("ONE",)))

    assert vendor.read(request(vendor.sample(NOW_MS), {"Content-Type": vendor.content_type}))


@pytest.mark.parametrize("name", MODULES)
def test_an_empty_secret_is_none_of_any_vendor(name: str) -> None:
    """Who sends nothing would be believed."""
    vendor = vendor_for(Connection("one", name, ("ONE",)))

    for secret in ("", " ", "x", ":"):
        assert vendor.secret_problem(secret) is not None, secret

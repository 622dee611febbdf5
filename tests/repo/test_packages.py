"""Our four import names are our own in any environment: PyPI has packages of the same names."""

import importlib.metadata

OURS = ("schemas", "segments", "actions", "streams")


def test_no_distribution_but_ours_brings_one_of_our_names() -> None:
    """One that did would overwrite ours, or be overwritten, without a word."""
    owners = importlib.metadata.packages_distributions()

    assert {name: {"tidegate"} for name in OURS} == {name: set(owners.get(name, ["tidegate"])) for name in OURS}
    assert "tidegate" in owners.get("streams", []) or _editable()


def _editable() -> bool:
    """An editable installation lists no files of the packages; the checkout is on the path instead."""
    files = importlib.metadata.files("tidegate") or []
    return any(str(file).endswith((".pth", "__editable___tidegate_finder.py")) for file in files)

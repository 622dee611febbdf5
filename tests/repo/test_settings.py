"""The table of settings in deploy/README.md is the one that the code has."""

from pathlib import Path

from streams.cli.settings import markdown_table

README = Path(__file__).resolve().parents[2] / "deploy" / "README.md"


def test_the_readme_has_the_table_that_the_code_makes() -> None:
    """`tidegate settings --markdown` prints it: put it in place of the old one."""
    readme = README.read_text("utf-8").splitlines()
    table = markdown_table().splitlines()

    assert table[0] in readme, "it has no table of settings: `tidegate settings --markdown` makes it"
    start = readme.index(table[0])
    assert table == readme[start : start + len(table)]

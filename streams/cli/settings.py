"""`tidegate settings`: every setting, what it is now, and what it is for."""

import os

import click

from streams.cli.terminal import json_option, print_table
from streams.settings import SETTINGS, load_settings, shown

COLUMNS = ("variable", "default", "now", "what it is for")


@click.command()
@json_option
@click.option("--markdown", is_flag=True, help="As the table in deploy/README.md, without what each is now.")
def settings(as_json: bool, markdown: bool) -> None:
    """List all settings: environment variables, with default, what each is now, and what it is for.

    \b
    Example:
      TIDEGATE_GRACE=5s tidegate settings
    """
    if markdown:
        click.echo(markdown_table(), nl=False)
        return
    load_settings()
    rows = [
        (
            setting.variable,
            setting.default,
            shown(os.environ.get(setting.variable, setting.default), setting.kind),
            setting.help,
        )
        for setting in SETTINGS
    ]
    print_table(COLUMNS, rows, as_json)


def markdown_table() -> str:
    """The table of settings in deploy/README.md."""
    lines = ["| variable | default | what it is for |", "|---|---|---|"]
    for setting in SETTINGS:
        default = f"`{setting.default}`" if setting.default else ""
        lines.append(f"| `{setting.variable}` | {default} | {setting.help.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"

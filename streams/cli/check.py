"""`tidegate check`: are the definitions sound?"""

from pathlib import Path

import click

from streams.cli.terminal import settings


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def check(files: tuple[str, ...]) -> None:
    """Check FILE... of segments and rules (YAML or JSON, `-` is standard input), together and on their own.

    Each error goes to standard error on a line: what was expected, what came, and where. Exit status 2 where there is
    one. No broker is asked; `tidegate segments apply` checks again, with what is in force.

    \b
    Example:
      tidegate check segments.yaml rules.yaml
    """
    from streams.definition_files import check_files, open_files
    from streams.revisions import InForce

    checked = check_files(open_files(files), InForce(), Path(settings().templates))
    counts = {kind: sum(name[0] == kind for name in checked.bodies) for kind in ("segment", "rule")}
    click.echo(", ".join(f"{count} {kind}{'s' * (count != 1)}" for kind, count in counts.items() if count) + ": sound")

"""`tidegate lists`: static lists, which are what somebody puts on them."""

import click

from streams.cli.importing import import_rows
from streams.cli.parameters import RateType
from streams.cli.terminal import settings


@click.group()
def lists() -> None:
    """Put contacts on static lists, and take them off."""


@lists.command("import")
@click.argument("name", metavar="LIST")
@click.argument("path", metavar="FILE")
@click.option("--column", default="userId", show_default=True, help="The column with the contacts' ids.")
@click.option("--remove", is_flag=True, help="Take them off the list.")
@click.option("--resume", is_flag=True, help="Go on where an import of this file was broken off.")
@click.option("--bad", metavar="FILE", help="Write rows without an id there, to be mended.")
@click.option("--dry-run", is_flag=True, help="Print the first events and read the rest; publish nothing.")
@click.option("--rate", type=RateType(), help="At most so many contacts a second.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def import_(
    name: str,
    path: str,
    column: str,
    remove: bool,
    resume: bool,
    bad: str | None,
    dry_run: bool,
    rate: float | None,
    as_json: bool,
) -> int:
    """Put the contacts of a FILE (CSV or JSON lines; `.gz`) on the static list LIST, which segments ask for: {listed: LIST}.

    Whoever is on it already stays as they are, so the same file may be imported again, and whoever isn't in it stays on
    the list, too. An id that is new makes a contact. Rows without an id are listed with their lines, and the exit
    status is 1.

    What segments say of it has the cause `manual`: rules and sequences act on that where they say so
    (`causes: [event, timer, manual]`), so that a list can be filled before anybody is messaged.

    How far Kafka has it is kept in FILE.list.<LIST>.added.import until all of it is there; after a kill or an outage
    --resume goes on from there. A file of another form is read with `tidegate publish --map`, `type: list`.

    \b
    Examples:
      tidegate lists import trade-fair visitors.csv --column e_mail --dry-run
      tidegate lists import trade-fair visitors.csv --column e_mail --bad bad.csv
      tidegate lists import trade-fair visitors.csv --column e_mail --remove
    """
    from streams.lists import list_mapping

    if not name:
        raise click.UsageError("expected the name of a list, got an empty text")
    given = settings()
    opening = {"live": True, "resume": resume, "bad": bad, "keeps_place": not dry_run}
    options = {"ticks": given.clock == "arrival", "events_per_s": rate}
    return import_rows(given, path, list_mapping(name, column, removed=remove), opening, options, as_json)

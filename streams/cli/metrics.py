"""`tidegate metrics`: every metric of a worker, and what to do when it moves."""

import click

from streams.cli.terminal import json_option, print_table


@click.command()
@json_option
@click.option("--markdown", is_flag=True, help="As the table in deploy/README.md.")
def metrics(as_json: bool, markdown: bool) -> None:
    """List what a worker's /metrics has: name, kind, unit, labels, what it says, and what to do when it moves.

    \b
    Example:
      tidegate metrics --json | jq -r '.[].metric'
    """
    from streams.instruments import markdown_table
    from streams.metric_table import METRICS

    if markdown:
        click.echo(markdown_table(METRICS), nl=False)
        return
    rows = [(each.full_name, each.kind, each.unit, " ".join(each.labels), each.help, each.do) for each in METRICS]
    print_table(("metric", "kind", "unit", "labels", "what_it_says", "when_it_moves"), rows, as_json)

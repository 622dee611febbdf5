"""`tidegate schemas`: JSON Schemas of everything on the topics, and the AsyncAPI document of the topics themselves."""

import click


@click.command()
@click.argument("name", required=False)
def schemas(name: str | None) -> None:
    """Print the JSON Schema NAME, or the names of all.

    They are made from the code that runs. `segments` is that of definition files, for editors that check as you type;
    `asyncapi` no schema but an AsyncAPI 3 document: the topics that services send to and receive from.

    \b
    Example:
      tidegate schemas transition > transition.json
    """
    from schemas.asyncapi import documents
    from schemas.jsonschema import text_of

    every = documents()
    if name is None:
        click.echo("\n".join(every))
    elif name in every:
        click.echo(text_of(every[name]), nl=False)
    else:
        raise click.UsageError(f"expected one of {', '.join(every)}, got {name!r}")

"""The command line: `tidegate COMMAND`, one module here for each.

Standard output is for results, standard error for people. Exit status: 0 when all went well, 2 for bad input or
usage, 1 for the rest. A command's module is imported when the command is run: `--help` is quick, and works where one
is broken.
"""

import importlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

# name: (module with a click command of the same name, what `--help` says), in the order that a newcomer meets them
COMMANDS = {
    "check": ("streams.cli.check", "Check files of segments, scores, rules and sequences"),
    "simulate": ("streams.cli.simulate", "Run segments over a file of events, with no broker"),
    "explain": ("streams.cli.explain", "Explain why a contact is in a segment, or isn't"),
    "render": ("streams.cli.render", "Show what messages would say to a contact, with nothing sent"),
    "topics": ("streams.cli.topics", "Make the Kafka topics, and compare those that are there"),
    "segments": ("streams.cli.segments", "Apply, list, compare and remove segments, scores, rules and sequences"),
    "publish": ("streams.cli.publish", "Put a file of events into the source topics"),
    "lists": ("streams.cli.lists", "Put contacts on static lists, from files of ids"),
    "delete": ("streams.cli.delete", "Erase contacts, and wait for the receipts"),
    "gateway": ("streams.cli.gateway", "Run a gateway: events in over HTTP, from SDKs and webhooks"),
    "connections": ("streams.cli.connections", "Check, list and try the connections that send to a gateway"),
    "worker": ("streams.cli.worker", "Run a worker: events in, transitions and deliveries out"),
    "dispatcher": ("streams.cli.dispatcher", "Run a dispatcher: deliveries to webhooks and e-mail"),
    "projector": ("streams.cli.projector", "Run a projector: contacts and memberships into Redis"),
    "api": ("streams.cli.api", "Run the API: what Tidegate knows, over HTTP"),
    "contact": ("streams.cli.contact", "Show a contact: traits, consent, segments now or at an instant"),
    "members": ("streams.cli.members", "List who is in a segment"),
    "fields": ("streams.cli.fields", "List the traits and properties that events have had"),
    "tail": ("streams.cli.tail", "Print committed records as JSON lines"),
    "deliveries": ("streams.cli.deliveries", "List, show, retry, pause and resume deliveries"),
    "sequences": ("streams.cli.sequences", "What sequences were worth, stage by stage and against the holdout"),
    "rejected": ("streams.cli.rejected", "What could not be taken, by reason"),
    "status": ("streams.cli.status", "How the workers stand, and what is wrong"),
    "metrics": ("streams.cli.metrics", "List a worker's metrics, and what to do when each moves"),
    "settings": ("streams.cli.settings", "List all settings, with what each is now"),
    "schemas": ("streams.cli.schemas", "Print the JSON Schemas of everything on the topics"),
    "bench": ("streams.cli.bench", "Measure the worker beside a stock Faust agent"),
}  # fmt: skip

_EPILOG = """\b
Start here:
  tidegate check segments.yaml                     are the definitions sound?
  tidegate simulate segments.yaml events.jsonl     what would they say of these events?
  tidegate explain segments.yaml events.jsonl --contact c-17    why is c-17 there?
  tidegate topics create                           make the topics on TIDEGATE_BROKER
  tidegate segments apply segments.yaml            put the definitions in force
  tidegate worker                                  run them
  tidegate tail transitions                        watch what comes out
"""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name; raises `ClickException` where its module can't be loaded."""
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        try:
            command: click.Command = getattr(importlib.import_module(module), cmd_name)
        except (ImportError, AttributeError) as error:
            if ctx.find_root().params.get("traceback"):
                raise
            raise click.ClickException(
                f"the command {cmd_name!r} can't be loaded: {error} "
                "(is the installation whole? `pip install -e .` in the checkout)"
            ) from error
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help) for name, (_, help) in COMMANDS.items()])


@click.group(cls=LazyGroup, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tidegate", prog_name="tidegate")
@click.option("--traceback", is_flag=True, help="Show Python's traceback of an error.")
def cli(traceback: bool) -> None:
    """Segments that are right at every instant: events in over Kafka, entered and left out, each exactly once.

    Settings are environment variables; `tidegate settings` lists them.
    """
    # they say in hundreds of lines what our errors say in one; worker and dispatcher set up logs of their own
    for name in ("aiokafka", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and ends the process with its status."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us: what is said goes nowhere, the work is done
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Runs one command line; its exit status. Errors go to standard error in a few lines each."""
    from streams.cli.failures import lines_of, status_of

    try:
        answer: Any = cli.main(list(arguments), prog_name="tidegate", standalone_mode=False)
        sys.stdout.flush()
        return answer if isinstance(answer, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # whoever read our output has seen enough; Python would complain once more when it closes the stream
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if "--traceback" in arguments:
            raise
        for line in lines_of(error):
            click.echo(line, err=True)
        return status_of(error)

"""`lab-insights dlq`: what the sensors gave up, and how to try it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lab_insights.commands.auditing import record
from lab_insights.commands.console import entry, load_config, out, print_json, told
from lab_insights.errors import LabInsightsError

if TYPE_CHECKING:
    from lab_insights.lake.events import QueueName

app = typer.Typer(no_args_is_help=True, help="Dead letters of the curation and transformation queues.")
_QUEUES: tuple[QueueName, ...] = ("curation", "transformation")


@app.command("list")
def list_(*, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show every dead letter with its reason; all of them stay."""
    from lab_insights.lake.deadletters import dead_letters
    from lab_insights.resources.lake import open_aws

    with told():
        config = load_config()
        letters = [letter for name in _QUEUES for letter in dead_letters(open_aws(config), config.lake.prefix, name)]
        if json:
            print_json(
                [
                    {
                        "queue": letter.queue,
                        "id": letter.id,
                        "manifest": letter.manifest and letter.manifest.key,
                        "reason": letter.reason,
                        "sent_at": letter.sent_at,
                    }
                    for letter in letters
                ]
            )
            return
        for letter in letters:
            entry(f"{letter.queue} {letter.id}: {letter.reason}", indent=0)
            manifest = letter.manifest.key if letter.manifest else "names no manifest"
            entry(f"sent {letter.sent_at:%Y-%m-%d %H:%M}; {manifest}", indent=6, style="dim")
        if not letters:
            out.print("no dead letters")


@app.command()
def redrive(
    message: Annotated[list[str] | None, typer.Option("--id", help="Only this dead letter; may be given several times.")] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Send dead letters back to their queue, as if nothing had been tried."""
    from lab_insights.lake import deadletters
    from lab_insights.resources.lake import open_aws

    with told():
        config = load_config()
        counts: dict[str, int] = {}
        for name in _QUEUES:
            counts[name] = count = deadletters.redrive(open_aws(config), config.lake.prefix, name, frozenset(message) if message else None)
            if count:
                record(config, "deadletters.redrive", subject=name, messages=count)
            if not json:
                out.print(f"{name}: {count} redriven", highlight=False)
        if json:
            print_json(counts)
        if message and (missed := len(set(message)) - sum(counts.values())):
            raise LabInsightsError(
                f"{missed} of {len(set(message))} were not found in any dead-letter queue.",
                remedy="`lab-insights dlq list` shows their ids; one that another walk looks at is hidden for two minutes at most.",
            )

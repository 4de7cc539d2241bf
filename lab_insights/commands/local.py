"""`lab-insights local`: the stack on this machine, its simulated days, and the demo."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import date
from importlib import import_module
from typing import Annotated

import typer

from lab_insights.commands.console import err, local_directory, out, print_json, told
from lab_insights.commands.progress import counted, progress, rated

app = typer.Typer(
    no_args_is_help=True, help="The stack on this machine: real clients against local servers, and three synthetic laboratories."
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def up(*, json: Json = False) -> None:
    """Say which servers will be used, start what is missing, deploy the template, and write the configuration."""
    from lab_insights.local import stack

    with told():
        directory = local_directory()
        servers = stack.look()
        for line in [] if json else stack.describe(servers, directory):
            out.print(f"  {line}", highlight=False, soft_wrap=True)
        started = stack.up(directory, servers)
        if json:
            print_json({"dagster_home": str(started.dagster_home), "done": started.lines})
            return
        for line in started.lines:
            out.print(f"  [green]✓[/] {line}", highlight=False, soft_wrap=True)
        out.print(f"Up. DAGSTER_HOME={started.dagster_home}", highlight=False, soft_wrap=True)


@app.command()
def status(*, json: Json = False) -> None:
    """Show what the stack of this directory started, and whether it runs."""
    from lab_insights.local import stack

    lines = stack.status(local_directory())
    if json:
        print_json(lines)
        return
    for line in lines or [f"nothing was started from {local_directory()}"]:
        out.print(line, highlight=False, soft_wrap=True)


@app.command()
def down(
    *,
    purge: Annotated[bool, typer.Option("--purge", help="Also drop the source schemas and delete the stack's files.")] = False,
    json: Json = False,
) -> None:
    """Stop everything that the stack of this directory started, and nothing else."""
    from lab_insights.local import stack

    with told():
        directory = local_directory()
        lines = (stack.purge if purge else stack.down)(directory)
        if json:
            print_json(lines)
            return
        for line in lines or ["nothing was running"]:
            out.print(line, highlight=False, soft_wrap=True)


@app.command()
def simulate(
    days: Annotated[int, typer.Option(help="How many more days the laboratories work.", min=1)] = 1, *, json: Json = False
) -> None:
    """Append days of changes to the sources: new and updated rows, late ones, deletes; the simulated clock moves on. Loads nothing."""
    from lab_insights.local import stack
    from lab_insights.local.simulation import Simulation

    with told():
        changed: dict[str, int] = {}
        simulation = Simulation(stack.up(local_directory()))
        with progress(unit="days") as bar:
            task = bar.add_task("simulate", total=days, rate="")
            written = rated(lambda rate: bar.update(task, rate=rate))

            def simulated(day: date, changes: int) -> None:
                changed[str(day)] = changes
                written(changes)
                if not json:
                    out.print(f"{day}: {changes:,} rows changed in the sources", highlight=False)

            for day in simulation.advance(days, simulated):
                bar.update(task, advance=1)
                err.print(f"the clock stands just after {day}", style="dim", highlight=False)
        if json:
            print_json(changed)


@app.command()
def demo(
    seed: Annotated[int, typer.Option(help="Which laboratories; the same seed gives the same rows.")] = 7,
    scale: Annotated[float, typer.Option(help="How much data: 1 is about 2,000 rows for each tenant's first day.")] = 1.0,
    *,
    json: Json = False,
) -> None:
    """Three laboratories, seven days, every layer; then what was loaded, and that it is proven."""
    from lab_insights import demo as work
    from lab_insights.commands.verify import print_report, verified
    from lab_insights.local import stack
    from lab_insights.local.simulation import TENANTS, Simulation

    with told():
        say = (err if json else out).print
        directory = local_directory()
        servers = stack.look()
        say("[bold]This demo uses and creates:[/]")
        for line in stack.describe(servers, directory):
            say(f"  {line}", highlight=False, soft_wrap=True)
        with err.status("starting the local stack …"), ThreadPoolExecutor(1) as beside:
            # They take as long as the servers' start.
            for name in work.IMPORTS:
                beside.submit(import_module, name)
            running = stack.up(directory, servers)
            simulation = Simulation(running, seed, scale)
            work.register(running)
        already = len(simulation.written)
        with ExitStack() as stack_:
            bar = stack_.enter_context(progress())
            # The warehouse is a day behind the lake: in one bar the day would jump to and fro.
            tasks = {half: bar.add_task(half, total=None, rate="") for half in ("lake", "Snowflake")}
            stack_.enter_context(counted(lambda rate: bar.update(tasks["lake"], rate=rate)))

            def simulated(day: date, changes: int) -> None:
                say(f"{day}: {changes:,} rows changed in the sources", highlight=False)

            def stepped(step: work.Step, steps: int) -> None:
                bar.update(tasks[step.half], advance=1, total=steps, description=f"{step.half:<9} {step.day} {step.name}")

            with work.loaded(simulation, simulated, stepped) as in_snowflake:
                report = verified(bar=bar, once=in_snowflake)
        days = simulation.written
        again = f" {already} days were there already: what has not changed was not loaded again." if already else ""
        say(f"{len(days)} days × {len(TENANTS)} tenants are in every layer.{again}", highlight=False)
        if json:
            print_json({"days": days, "dagster_home": str(running.dagster_home), **report.to_dict()})
        else:
            print_report(report)
        say("The stack keeps running. Next: [bold]lab-insights ui[/], [bold]lab-insights verify[/], [bold]lab-insights local down[/]")
        say(
            f"Plain `dagster dev -m lab_insights.definitions` shows the same with DAGSTER_HOME={running.dagster_home}",
            highlight=False,
            soft_wrap=True,
        )
        if not report.ok:
            raise typer.Exit(1)

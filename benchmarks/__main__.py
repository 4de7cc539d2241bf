"""Runs one benchmark: `python -m benchmarks NAME [--json]`, with the options that its `run` takes."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import sys
from collections.abc import Callable

from benchmarks.goals import Findings, lines

NAMES = ("table_formats", "event_consumers", "messages", "extract", "kindness", "ui", "transform")


def main() -> None:
    """Run the named benchmark and print its results and goals; a goal that was missed ends with exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    arguments, rest = parser.parse_known_args()
    run: Callable[..., Findings] = importlib.import_module(f"benchmarks.{arguments.name}").run
    found = run(**_options(arguments.name, run, rest))
    sys.stdout.write(json.dumps(found, indent=1) + "\n" if arguments.json else "\n".join(lines(found)) + "\n")
    raise SystemExit(not all(each["met"] for each in found["goals"]))


def _options(name: str, run: Callable[..., Findings], rest: list[str]) -> dict[str, object]:
    """Read what is left of the command line as the parameters of `run`, each of the type of its default."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {name}")
    for parameter in inspect.signature(run).parameters.values():
        option, default = f"--{parameter.name.replace('_', '-')}", parameter.default
        if isinstance(default, bool):
            parser.add_argument(option, action="store_true")
        else:
            parser.add_argument(option, type=type(default), default=default, help=f"default: {default}")
    return vars(parser.parse_args(rest))


if __name__ == "__main__":
    main()

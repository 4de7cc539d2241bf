"""Logs of runs as JSON, a line an event: run, job, step, tenant, table, partition, batch, message; never a value.

Dagster's own console logger prints coloured sentences, and below a failure the exception's text, which may quote a row: here an error is its type.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Any

import dagster as dg

# What a record may say of itself, in the order in which a line shows it; nothing else of it is printed.
FIELDS = ("run", "job", "step", "layer", "tenant", "table", "partition", "batch", "rows", "seconds")
_OURS = "lab_insights"


class JsonFormatter(logging.Formatter):
    """Formats Dagster's records and our own alike; `run` is the run of records that name none."""

    def __init__(self, run: str = "") -> None:
        super().__init__()
        self._run = run

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        meta: dict[str, Any] = getattr(record, "dagster_meta", None) or {}
        event = meta.get("dagster_event")
        known: dict[str, Any] = {"run": meta.get("run_id") or self._run, "job": meta.get("job_name"), "step": meta.get("step_key")}
        if event is not None:
            known |= _of(event)
        known |= {name: value for name in FIELDS if (value := getattr(record, name, None)) not in {None, ""}}
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "event": event.event_type_value if event is not None else None,
            **{name: known.get(name) for name in FIELDS},
            "message": meta.get("orig_message") or record.getMessage(),
            "error": record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else known.get("error"),
        }
        return json.dumps({name: value for name, value in line.items() if value not in {None, ""}}, default=str)


def _of(event: dg.DagsterEvent) -> dict[str, Any]:
    """Return layer, table, tenant and partition of an event about a partition of an asset, and the type of an event's error."""
    found: dict[str, Any] = {}
    if event.asset_key is not None:
        found |= {"layer": event.asset_key.path[0], "table": ".".join(event.asset_key.path[1:])}
    if error := getattr(event.event_specific_data, "error", None):
        found["error"] = str((error.cause or error).cls_name)
    day, both, tenant = (event.partition or "").partition("|")
    return found | ({"partition": day, "tenant": tenant} if both else {})


@dg.logger(
    {
        "log_level": dg.Field(str, default_value="INFO", description="The least level that is printed."),
        "name": dg.Field(str, default_value="dagster", description="The logger's name."),
    },
    description="A line of JSON on standard error for every event of a run, and for every batch that the lake or the warehouse takes.",
)
def json_logger(context: dg.InitLoggerContext) -> logging.Logger:
    """Return the logger of a run, and give the product's own logger the same handler for the length of this process."""
    level = logging.getLevelNamesMapping()[context.logger_config["log_level"].upper()]
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter(context.run_id or ""))
    handler.setLevel(level)
    _replace(logging.getLogger(_OURS), handler)
    made = logging.Logger(context.logger_config["name"], level)  # noqa: LOG001 (a shared one would print for every run of this process)
    made.addHandler(handler)
    return made


def _replace(logger: logging.Logger, handler: logging.Handler) -> None:
    """Let `logger` speak through `handler` alone, whichever runs this process had before; quiet runs leave warnings to Python's last resort."""
    for old in [each for each in logger.handlers if isinstance(each.formatter, JsonFormatter)]:
        logger.removeHandler(old)
    logger.setLevel(logging.INFO)
    if handler.level < logging.CRITICAL:
        logger.addHandler(handler)

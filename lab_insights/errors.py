"""The one exception hierarchy: every error says where it happened and what to do, and never shows a patient's value."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable


class LabInsightsError(Exception):
    """An error that names tenant, table and partition where they are known, and the remedy.

    `message` and `remedy` are sentences of ours: never text that came from a row.
    """

    def __init__(
        self,
        message: str,
        *,
        remedy: str,
        tenant: str | None = None,
        table: str | None = None,
        partition: str | None = None,
    ) -> None:
        self.message = message
        self.remedy = remedy
        self.tenant = tenant
        self.table = table
        self.partition = partition
        super().__init__(str(self))

    def __reduce__(self) -> tuple[Callable[[], LabInsightsError], tuple[()]]:
        # Exception's own way passes `args` alone, and `remedy` has a name: a process pool would lose the error and hang.
        made = functools.partial(
            type(self), self.message, remedy=self.remedy, tenant=self.tenant, table=self.table, partition=self.partition
        )
        return made, ()

    def __str__(self) -> str:
        named = {"tenant": self.tenant, "table": self.table, "partition": self.partition}
        where = ", ".join(f"{name} {value}" for name, value in named.items() if value is not None)
        return f"{f'[{where}] ' if where else ''}{self.message} Remedy: {self.remedy}"


def told(error: BaseException) -> str:
    """Return our own errors in their words; of any other only its type and place, since its text may quote a row."""
    if isinstance(error, LabInsightsError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {frames[-1].name} ({frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{where}"


class ConfigError(LabInsightsError):
    """The configuration is not usable: it names the line or the variable."""


class InvalidTenant(LabInsightsError):
    """A tenant id that may not become part of a path, an identifier or a partition key."""


class UnknownTenant(LabInsightsError):
    """A tenant that the registry does not hold."""


class SourceError(LabInsightsError):
    """A source database that can not be reached, refuses the login, or lacks a schema or table."""


class Transient(LabInsightsError):
    """A fault that may be over a moment later: whoever meets it tries again (`retries`), which no other error is worth."""


class SourceUnavailable(SourceError, Transient):
    """A source that does not answer, broke off, or keeps what is wanted locked."""


class UnsupportedLoad(LabInsightsError):
    """A load that can not be done honestly, such as yesterday's snapshot of a table without a cursor."""


class CommitConflict(LabInsightsError):
    """Another run committed the same window first: this one stops, and nothing is doubled."""


class LandingMismatch(LabInsightsError):
    """What was read back from the lake is not what was written to it."""


class WarehouseError(LabInsightsError):
    """A warehouse statement or load that failed; the transaction was rolled back."""


class WarehouseUnavailable(WarehouseError, Transient):
    """A warehouse that does not answer, or keeps what is wanted locked; the whole transaction can be tried again."""


class StackError(LabInsightsError):
    """The local stack can not be started, or is not running."""

"""Trying again: after what passes by itself, with growing waits; never after anything else."""

from __future__ import annotations

import botocore.exceptions
import pytest
import sqlalchemy as sa

from lab_insights import retries
from lab_insights.errors import ConfigError, LabInsightsError, SourceError, SourceUnavailable
from lab_insights.extract import databases
from lab_insights.retries import WAITS, persistently, transient
from lab_insights.warehouse.session import LockConflict


def _aws(code: str, status: int = 400) -> Exception:
    return botocore.exceptions.ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutItem")


@pytest.mark.parametrize(
    "error",
    [
        SourceUnavailable("It does not answer.", remedy="wait."),
        LockConflict("Locked.", remedy="wait."),
        ConnectionResetError(),
        botocore.exceptions.EndpointConnectionError(endpoint_url="http://x"),
        _aws("SlowDown", 503),
        _aws("ProvisionedThroughputExceededException"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_fault_that_passes_by_itself_is_transient(error: Exception) -> None:
    assert transient(error)


@pytest.mark.parametrize(
    "error",
    [SourceError("No such table.", remedy="make it."), ConfigError("Wrong.", remedy="mend."), ValueError("x"), _aws("AccessDenied", 403)],
    ids=lambda error: type(error).__name__,
)
def test_any_other_is_permanent(error: Exception) -> None:
    assert not transient(error)


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr(retries.time, "sleep", waits.append)
    return waits


def _failing(times: int, error: Exception) -> tuple[list[int], object]:
    calls: list[int] = []

    def call() -> str:
        calls.append(len(calls))
        if len(calls) <= times:
            raise error
        return "done"

    return calls, call


def test_a_transient_fault_is_waited_for_longer_each_time_and_told(waited: list[float]) -> None:
    _, call = _failing(2, SourceUnavailable("It does not answer.", remedy="wait."))
    told: list[str] = []
    assert persistently(call, told.append) == "done"  # type: ignore[arg-type]
    assert [0.75 * wait <= real <= 1.25 * wait for wait, real in zip(WAITS, waited, strict=True)] == [True, True]
    assert waited[0] < waited[1]
    assert ["It does not answer." in each for each in told] == [True, True]


def test_one_that_lasts_is_raised_and_a_permanent_one_at_once(waited: list[float]) -> None:
    for error, attempts in ((LockConflict("Locked.", remedy="wait."), 1 + len(WAITS)), (SourceError("Gone.", remedy="mend."), 1)):
        calls, call = _failing(9, error)
        with pytest.raises(LabInsightsError):
            persistently(call, lambda _: None)  # type: ignore[arg-type]
        assert len(calls) == attempts
    assert len(waited) == len(WAITS)


def test_a_server_that_is_down_is_transient_and_one_that_refuses_is_not(mysql_url: str) -> None:
    def reached(url: sa.URL) -> SourceError:
        with pytest.raises(SourceError) as caught, databases.reaching("crm", url), sa.create_engine(url).connect():
            pass
        return caught.value

    url = sa.make_url(mysql_url).set(drivername="mysql+pymysql")
    assert transient(reached(url.set(host="127.0.0.1", port=1)))
    assert not transient(reached(url.set(username="nobody", password="wrong")))

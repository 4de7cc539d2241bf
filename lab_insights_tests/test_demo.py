"""What the demo loads into Snowflake behind the lake, and when: the process that loads is stood in for by a thread that works when it is told to."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from threading import Semaphore
from typing import Any

import pytest

from lab_insights import demo
from lab_insights.errors import LabInsightsError
from lab_insights.names import TenantId

ONE, TWO, THREE = ([date(2026, 3, number)] for number in (1, 2, 3))
A, B = ([TenantId(name)] for name in ("aurora", "brook"))
BOTH = [*A, *B]
DATABASES = ("databases",)
# Longer than any wait of a test that holds.
SECONDS = 60


@dataclass
class Process:
    """The one process beside: each work that begins there ends when it is let go, by an error where it is to fail."""

    failing: tuple[Any, ...] | None
    began: list[tuple[Any, ...]] = field(default_factory=list)
    works: list[Future[None]] = field(default_factory=list)
    left: dict[str, bool] = field(default_factory=dict)
    go: Semaphore = field(default_factory=lambda: Semaphore(0))
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def submit(self, function: Callable[..., None], /, *arguments: Any) -> Future[None]:
        assert all(each.done() for each in self.works), "something runs already"
        what = DATABASES if not arguments else (arguments[0], *arguments[1])
        self.began.append(what)
        self.works.append(self.thread.submit(self._work, function, arguments, fails=what == self.failing))
        return self.works[-1]

    def _work(self, function: Callable[..., None], arguments: tuple[Any, ...], *, fails: bool) -> None:
        assert self.go.acquire(timeout=SECONDS), "nobody let it go"
        function(*arguments)
        if fails:
            raise LabInsightsError("it is broken", remedy="mend it")

    def shutdown(self, **how: bool) -> None:
        self.left = how
        self.thread.shutdown(**how)

    def step(self) -> None:
        """Let what runs end; what follows it has begun."""
        assert not self.works[-1].done()
        followed = self.thread.submit(lambda: None)
        self.go.release()
        followed.result(SECONDS)

    def run(self) -> None:
        """Let everything end that has begun, and what follows it."""
        while not self.works[-1].done():
            self.step()

    def hold_nothing(self) -> None:
        self.go.release(100)


class Behind(demo._Behind):
    """The demo's, with the process of the test; `told` is what the progress hears."""

    def __init__(self, patch: pytest.MonkeyPatch, failing: tuple[Any, ...] | None = None) -> None:
        self.process, self.told = Process(failing), list[tuple[str, date]]()
        patch.setattr(demo, "ProcessPoolExecutor", lambda *_: self.process)
        patch.setattr(demo, "_make_databases", lambda: None)
        patch.setattr(demo, "_load_behind", lambda *_: None)
        jobs: Any = demo._Jobs("lake", "snowflake", "reports")  # type: ignore[arg-type]
        super().__init__(jobs, lambda job, day: self.told.append((str(job), day)))

    @property
    def began(self) -> list[tuple[Any, ...]]:
        return self.process.began


def test_nothing_is_loaded_before_there_are_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    with Behind(monkeypatch) as behind:
        behind.take((A, ONE))
        behind.take((A, TWO))
        assert behind.began == [DATABASES]
        behind.process.step()
        assert behind.began == [DATABASES, ("snowflake", A, [*ONE, *TWO])]
        behind.process.run()
    assert len(behind.began) == 2


def test_what_waits_for_the_same_tenants_goes_in_one_run_and_other_tenants_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    with Behind(monkeypatch) as behind:
        for cells in ((A, ONE), (B, ONE), (BOTH, TWO), (BOTH, THREE)):
            behind.take(cells)
        behind.process.hold_nothing()
        behind.finish()
    loads = [("snowflake", A, ONE), ("snowflake", B, ONE), ("snowflake", BOTH, [*TWO, *THREE])]
    assert behind.began == [DATABASES, *loads, ("reports", BOTH, [*ONE, *TWO, *THREE])]
    # each stretch by its last day, also of those that went together
    assert behind.told == [*(("snowflake", day) for day in (*ONE, *ONE, *TWO, *THREE)), ("reports", *THREE)]


def test_a_stretch_goes_at_once_when_nothing_runs_and_the_next_ones_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with Behind(monkeypatch) as behind:
        behind.process.step()
        behind.take((A, ONE))
        assert behind.began == [DATABASES, ("snowflake", A, ONE)]
        behind.take((A, TWO))
        behind.take((A, THREE))
        assert len(behind.began) == 2
        behind.process.step()
        assert behind.began[2:] == [("snowflake", A, [*TWO, *THREE])]
        behind.process.hold_nothing()
        behind.finish()
    assert behind.began[3:] == [("reports", A, [*ONE, *TWO, *THREE])]


def test_reports_are_made_once_behind_all_tables_however_many_wait_for_these(monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadPoolExecutor(5) as verifying, Behind(monkeypatch) as behind:
        behind.take((A, ONE))
        waiting = [verifying.submit(behind.finish_tables) for _ in range(4)]
        behind.process.step()
        assert not any(each.done() for each in waiting)
        behind.process.step()
        for each in waiting:
            each.result(SECONDS)
        assert behind.began == [DATABASES, ("snowflake", A, ONE), ("reports", A, ONE)]
        finished = verifying.submit(behind.finish)
        assert not behind.process.works[-1].done()
        behind.process.step()
        finished.result(SECONDS)
        behind.process.hold_nothing()
        behind.finish_tables()
        behind.finish()
    assert [part for part, *_ in behind.began].count("reports") == 1
    assert behind.process.left.get("wait")


def test_without_a_stretch_there_are_databases_and_no_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    with Behind(monkeypatch) as behind:
        behind.process.hold_nothing()
        behind.finish()
    assert behind.began == [DATABASES]


@pytest.mark.parametrize("failing", [DATABASES, ("snowflake", A, ONE), ("snowflake", B, TWO)], ids=["databases", "load", "last load"])
@pytest.mark.parametrize("ask", ["take", "finish_tables", "finish"])
def test_what_failed_is_raised_by_whoever_asks_next_and_nothing_follows_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, ask: str, failing: tuple[Any, ...]
) -> None:
    with Behind(monkeypatch, failing) as behind:
        behind.take((A, ONE))
        behind.take((B, TWO))
        behind.process.run()
        with pytest.raises(LabInsightsError, match="it is broken"):
            getattr(behind, ask)(*[(B, THREE)] if ask == "take" else [])
    assert behind.began[-1] == failing
    assert caplog.messages == [], "what a callback raises is logged, and told to nobody"


def test_a_report_that_fails_is_raised_by_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with Behind(monkeypatch, ("reports", A, ONE)) as behind:
        behind.take((A, ONE))
        behind.process.hold_nothing()
        behind.finish_tables()
        with pytest.raises(LabInsightsError, match="it is broken"):
            behind.finish()


def test_an_error_beside_it_ends_what_waits_and_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    behind = Behind(monkeypatch)

    def interrupted() -> None:
        with behind:
            behind.take((A, ONE))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert behind.process.left == {"wait": False, "cancel_futures": True}
    behind.process.hold_nothing()
    behind.process.thread.shutdown()
    assert behind.began == [DATABASES]

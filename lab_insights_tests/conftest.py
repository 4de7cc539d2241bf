"""Real local servers for every test: started once per test process, stopped by their own handles."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import uuid
from collections import Counter
from collections.abc import Iterator

import pytest

from lab_insights.local import aws, databases, deployer, postgres, processes, snowflake

pytest_plugins = ["lab_insights_tests.within"]

# What a slow test weighs beside others.
_SLOW = 60
MYSQL_PORT = 3306


def pytest_configure() -> None:
    """Let a run that is terminated stop its servers: by default SIGTERM ends Python without any teardown."""
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", returncode=143))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of a module in one process, which then makes the module's fixtures once; a mark of its own keeps a group of modules together.

    Groups of several modules come first, then what takes longest, or one process would wait minutes for the other's last one.
    """
    weights, groups = Counter[tuple[bool, str]](), dict[pytest.Item, tuple[bool, str]]()
    for item in items:
        own = item.get_closest_marker("xdist_group")
        groups[item] = (own is None, own.args[0] if own else item.location[0])
        weights[groups[item]] += _SLOW if item.get_closest_marker("slow") else 1
        if own is None:
            item.add_marker(pytest.mark.xdist_group(item.location[0]))
    items.sort(key=lambda item: (groups[item][0], -weights[groups[item]], groups[item][1]))


@pytest.fixture(scope="session")
def aws_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an AWS stand-in of this test process."""
    handle = aws.start(tmp_path_factory.mktemp("aws") / "aws.log")
    yield handle.address
    processes.stop(handle)


@pytest.fixture
def deployed_prefix(aws_endpoint: str) -> str:
    """A prefix under which the production template was just deployed, for this test alone."""
    prefix = f"test-{uuid.uuid4().hex[:10]}"
    deployer.deploy(aws_endpoint, prefix)
    return prefix


@pytest.fixture(scope="session")
def snowflake_server(aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Host and port of a Snowflake stand-in of this test process, whose stages reach the buckets of `aws_endpoint`."""
    directory = tmp_path_factory.mktemp("snowflake")
    handle = snowflake.start(directory, aws_endpoint, directory / "snowflake.log")
    yield "127.0.0.1", int(handle.address.rpartition(":")[2])
    processes.stop(handle)


@pytest.fixture(scope="session")
def mysql_url() -> str:
    """The SQLAlchemy URL of the MySQL or MariaDB server; tests drop the schemas that they create."""
    found = databases.find("mysql")
    if found.url is None:
        # A server that lets nobody in is no reason to leave half of the tests out without a word.
        (pytest.fail if _listens(MYSQL_PORT) else pytest.skip)(f"{found.line}. Remedy: let LAB_INSIGHTS_MYSQL_URL name a login.")
    return found.url


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The SQLAlchemy URL of the PostgreSQL server, or of a bundled one where there is none."""
    found = databases.find("postgresql")
    if found.url is not None:
        yield found.url
        return
    handle = postgres.start(tmp_path_factory.mktemp("postgres"))
    yield handle.address
    processes.stop(handle)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out: tests that need what this machine has not are not collected, rather than skipped without a word."""
    if "LAB_INSIGHTS_MYSQL_URL" not in os.environ and not _listens(MYSQL_PORT):
        terminalreporter.write_line(
            "There is no MySQL on 127.0.0.1:3306: the tests that need it were skipped (Debian: apt install mariadb-server)."
        )
    if shutil.which("chromium") is None:
        terminalreporter.write_line("There is no chromium here: browser tests were left out (Debian: apt install chromium).")
    if not os.environ.get("LAB_INSIGHTS_SAMPLES"):
        terminalreporter.write_line("LAB_INSIGHTS_SAMPLES is not set: the public HL7 and FHIR samples were left out.")


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0

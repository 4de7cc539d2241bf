"""Stand-ins of one module's own, for tests that would meet what others have left on those of the test process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lab_insights.local import aws, processes, snowflake
from lab_insights_tests.assets.world import Servers


@contextmanager
def stand_ins(directory: Path, mysql_url: str, postgres_url: str) -> Iterator[Servers]:
    """Start both stand-ins, and stop them in the end."""
    with ExitStack() as afterwards:
        cloud = aws.start(directory / "aws.log")
        afterwards.callback(processes.stop, cloud)
        warehouse = snowflake.start(directory, cloud.address, directory / "snowflake.log")
        afterwards.callback(processes.stop, warehouse)
        yield Servers(cloud.address, int(warehouse.address.rpartition(":")[2]), {"mysql": mysql_url, "postgresql": postgres_url})

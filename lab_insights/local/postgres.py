"""PostgreSQL out of a wheel, for machines that have none: the binaries of `pgserver`, run by us on the loopback.

PostgreSQL refuses to run as root, so root starts it as `nobody`; where `nobody` can not reach the wheel or the
directory (a home is often closed to others), binaries and data go below /var/lib/lab-insights instead of any
permission being widened.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path

from lab_insights.errors import StackError
from lab_insights.local import processes

_UNPRIVILEGED = "nobody"
_ROOTS_OWN = Path("/var/lib/lab-insights")


def start(directory: Path, *, port: int | None = None, record: Path | None = None) -> processes.Handle:
    """Start the bundled server on the data of `directory`, made when new; the handle's `address` is its URL."""
    port = port or processes.free_port()
    user = _UNPRIVILEGED if os.geteuid() == 0 else None
    home = place(directory)
    home.mkdir(parents=True, exist_ok=True)
    if user:
        shutil.chown(home, user)
    binaries, data = _binaries(home, user), home / "data"
    if not (data / "PG_VERSION").exists():
        _initialise(binaries, data, user)

    def ready() -> bool:
        asked = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        return subprocess.run(asked, check=False).returncode == 0

    settings = [f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "timezone=UTC"]
    return processes.start(
        "PostgreSQL (bundled)",
        [str(binaries / "postgres"), "-D", str(data), *(part for setting in settings for part in ("-c", setting))],
        address=f"postgresql://postgres@127.0.0.1:{port}/postgres",
        log=directory / "postgres.log",
        ready=ready,
        user=user,
        cwd=home,
        stop_signal=signal.SIGINT,  # "fast": SIGTERM would wait for every client to leave
        record=record,
    )


def place(directory: Path) -> Path:
    """Return where the server of `directory` has its data: there, or below /var/lib if its user can not reach it."""
    directory = directory.resolve()
    if os.geteuid() != 0 or _open_to_others(directory):
        return directory / "postgres"
    return _ROOTS_OWN / hashlib.sha256(str(directory).encode()).hexdigest()[:16]


def _binaries(home: Path, user: str | None) -> Path:
    spec = find_spec("pgserver")  # not imported: that creates directories in the home of the user
    if spec is None or spec.origin is None:
        raise StackError(
            "There is no PostgreSQL on this machine, and none in this environment.",
            remedy="install PostgreSQL 15 or later, or `pip install pgserver`, or set LAB_INSIGHTS_POSTGRES_URL.",
        )
    installed = Path(spec.origin).resolve().parent / "pginstall"
    if user is None or _open_to_others(installed):
        return installed / "bin"
    copied = home / "pginstall"
    if not copied.exists():
        shutil.copytree(installed, copied, symlinks=True)
    return copied / "bin"


def _open_to_others(path: Path) -> bool:
    existing = [part for part in (path, *path.parents) if part.exists()]
    return all(part.stat().st_mode & stat.S_IXOTH for part in existing)


def _initialise(binaries: Path, data: Path, user: str | None) -> None:
    settings = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    command = [str(binaries / "initdb"), "-D", str(data), *settings]
    made = subprocess.run(command, user=user, cwd=data.parent, capture_output=True, text=True, check=False)
    if made.returncode:
        raise StackError(f"initdb failed: {made.stderr.strip()[-500:]}", remedy="see the message of PostgreSQL.")

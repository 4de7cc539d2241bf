"""Background servers, each started with its own handle and stopped by it, and nothing but that.

A handle is a pid together with the birth of the process, so that a pid which the kernel gave to somebody else is
never signalled.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from lab_insights.errors import StackError

_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Handle:
    """One process that serves at `address`; `birth` tells it from any other that ever has the same `pid`."""

    name: str
    address: str
    pid: int
    birth: str
    log: str
    stop_signal: int
    record: str | None

    def alive(self) -> bool:
        """Return whether this very process still runs."""
        with suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)  # a child of ours that ended stays a zombie until it is asked for
        return _birth(self.pid) == self.birth


def start(
    name: str,
    command: Sequence[str],
    *,
    address: str,
    log: Path,
    ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: str | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
    record: Path | None = None,
    seconds: float = 60,
) -> Handle:
    """Start `command` in the background and return its handle once `ready()` is true.

    `env` is added to the environment of this process; `user` needs root. The handle is written to `record` before the
    wait, so that whoever comes after a kill finds it there. Raises `StackError` with the end of the log when the
    process ends, or is not ready in time; a start that fails or is interrupted stops the process.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            user=user,
            group=pwd.getpwnam(user).pw_gid if user else None,
            extra_groups=[] if user else None,
            start_new_session=True,  # Ctrl-C in the terminal is for the command that started it
            preexec_fn=_restore_interrupt,  # noqa: PLW1509 - it does nothing but this
        )
    birth, kept = _birth(process.pid) or "", str(record) if record else None
    handle = Handle(name, address, process.pid, birth, str(log), int(stop_signal), kept)
    if record:
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(asdict(handle), indent=1))
    deadline = time.monotonic() + seconds
    try:
        while not ready():
            if process.poll() is not None:
                raise _failed(name, f"ended with exit code {process.returncode}", log)
            if time.monotonic() > deadline:
                raise _failed(name, f"was not ready after {seconds:.0f} s", log)
            time.sleep(_POLL_SECONDS)
    except BaseException:  # Ctrl-C while it starts, too
        stop(handle, seconds=1)
        raise
    process.returncode = 0  # it outlives this object on purpose: no ResourceWarning, the handle takes over
    return handle


def recorded(record: Path) -> Handle | None:
    """Return the handle that `start` wrote to `record`, None when there is none (or a kill left it half written)."""
    try:
        return Handle(**json.loads(record.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def stop(handle: Handle, seconds: float = 10) -> bool:
    """Stop the process of `handle`, forget its record, and return whether it was running."""
    running = handle.alive()
    if running:
        _end(handle, seconds)
    if handle.record:
        Path(handle.record).unlink(missing_ok=True)
    return running


def _end(handle: Handle, seconds: float) -> None:
    for sent in (handle.stop_signal, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(handle.pid, sent)
        deadline = time.monotonic() + seconds
        while handle.alive() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        if not handle.alive():
            return


def free_port(preferred: int = 0) -> int:
    """Return a TCP port that nothing on the loopback uses: the preferred one where it is free."""
    for wanted in (preferred, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a port in TIME_WAIT is free
            probe.bind(("127.0.0.1", wanted))
            return int(probe.getsockname()[1])
    raise StackError("There is no free port on the loopback.", remedy="end processes that hold ports, then try again.")


def answers(url: str) -> bool:
    """Return whether an HTTP server answers at `url` with a success."""
    from urllib.request import ProxyHandler, build_opener

    with suppress(OSError), build_opener(ProxyHandler({})).open(url, timeout=5) as response:
        return bool(response.status == 200)
    return False


def _birth(pid: int) -> str | None:
    """Return what identifies the running process `pid` for ever, None when there is none (a zombie counts as none)."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"  # ticks since this boot
    listed = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S607 (macOS and BSD keep it in different places)
    state, _, started = listed.stdout.strip().partition(" ")
    return started.strip() if state and not state.startswith("Z") else None


def _restore_interrupt() -> None:
    # a shell starts background jobs with SIGINT ignored; `dagster dev` would inherit that and could not be interrupted
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _failed(name: str, what: str, log: Path) -> StackError:
    lines = log.read_text(errors="replace").splitlines()[-15:]
    return StackError(f"{name} {what}; the end of {log}:\n" + "\n".join(lines), remedy="see the log, then start it again.")

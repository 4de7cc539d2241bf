"""Sensors, against a worker per message: runs started, messages a second, doubled messages, a tenant that fails, and the cost of having nothing to do."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.consumers import Deployment
from benchmarks.goals import Findings, Goal, Result, goal
from benchmarks.server import Metered, metered, requests
from lab_insights.local import deployer
from lab_insights.sensors import queues

ROUNDS = 3
TENANTS, TABLES = 50, 20
# A run for each message takes so long that fewer of them must do; what it takes is counted per message.
FEW = 60


def run() -> Findings:
    """Land manifests once, and send their real events again for every round."""
    queues.DELAY_SECONDS = 0  # a message that was put back comes again at once: what is measured is work, not waiting
    with tempfile.TemporaryDirectory() as directory, metered(Path(directory)) as server:
        deployer.deploy(server.address, "bench")
        world = Deployment(server.address, Path(directory), TENANTS, TABLES)
        consumers: dict[str, Callable[[], int]] = {
            "sensor": world.by_sensor,
            "worker that does the work": lambda: world.by_worker(world.use),
            "worker that starts a run": lambda: world.by_worker(world.start),
        }
        results = [*_idle(world, server), *_throughput(world, server, consumers), *_doubled(world, consumers), *_failing(world, consumers)]
    return {"results": results, "goals": _goals(results)}


def _idle(world: Deployment, server: Metered) -> list[Result]:
    ways: dict[str, Callable[[], Any]] = {"sensor, one tick": world.tick, "worker, one poll": world.queue.receive}
    results = []
    for name, action in ways.items():
        action()
        server.reset()
        start = time.perf_counter()
        action()
        seconds = round(time.perf_counter() - start, 2)
        counts = server.counts()
        kinds = {what: number for what, number in counts.items() if what != "bytes out"}
        results.append({"question": "idle", "consumer": name, "seconds": seconds, "requests": requests(counts), "kinds": kinds})
    return results


def _throughput(world: Deployment, server: Metered, consumers: dict[str, Callable[[], int]]) -> list[Result]:
    rates, first = defaultdict(list), {}
    for _ in range(ROUNDS):
        for name, consume in consumers.items():
            bodies = world.bodies[:FEW] if name.endswith("run") else world.bodies
            world.fill(bodies)
            server.reset()
            start = time.perf_counter()
            rounds = consume()
            rates[name].append(len(bodies) / (time.perf_counter() - start))
            first[name] = {
                "messages": len(bodies),
                "runs": world.runs,
                "requests_per_message": round(requests(server.counts()) / len(bodies), 2),
                "ticks_or_answers": rounds,
            }
    return [
        {"question": "throughput", "consumer": name, **first[name], "messages_per_s": round(median(rates[name]), 1)} for name in consumers
    ]


def _doubled(world: Deployment, consumers: dict[str, Callable[[], int]]) -> list[Result]:
    results = []
    for name, consume in consumers.items():
        bodies = world.bodies[:FEW]
        world.fill(bodies * 2)
        consume()
        done = {"runs": world.runs, "manifests_worked_on": world.used.total()}
        results.append({"question": "every message twice", "consumer": name, "messages": 2 * len(bodies), **done})
    return results


def _failing(world: Deployment, consumers: dict[str, Callable[[], int]]) -> list[Result]:
    results, broken = [], "tenant_001"
    for name, consume in consumers.items():
        bodies = world.bodies[:FEW]
        world.fill(bodies, broken)
        tried = consume()
        letters = []
        while dead := world.queue.dead_letters.receive():
            letters.extend(dead)
            world.queue.dead_letters.delete(dead)
        unused = [manifest for manifest in map(world.named, bodies) if manifest.key not in world.used]
        results.append(
            {
                "question": "one tenant fails",
                "consumer": name,
                "messages": len(bodies),
                "runs": world.runs,
                "ticks_or_answers": tried,
                "others_unused": sum(manifest.partition.tenant != broken for manifest in unused),
                "failed_unused": sum(manifest.partition.tenant == broken for manifest in unused),
                "dead_letters": len(letters),
                "with_a_reason": sum(bool(letter.reason) for letter in letters),
            }
        )
    return results


def _goals(results: list[Result]) -> list[Goal]:
    sensor = [result for result in results if result["consumer"] == "sensor"]
    runs = next(result["runs"] for result in sensor if result["question"] == "throughput")
    failing = next(result for result in sensor if result["question"] == "one tenant fails")
    forgotten = failing["failed_unused"] + failing["others_unused"] - failing["with_a_reason"]
    return [
        goal("runs started", f"at most 10 for {TENANTS * TABLES:,} manifests of one day", f"{runs} runs", met=runs <= 10),
        goal(
            "manifests forgotten", "none: every one is used, or a dead letter with its reason", f"{forgotten} forgotten", met=forgotten == 0
        ),
    ]

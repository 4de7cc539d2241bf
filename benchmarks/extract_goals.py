"""What extraction should reach, from the results of `extract`."""

from __future__ import annotations

from benchmarks.goals import Goal, Result, goal

COUNTS = "ours, landing verification"
SUMS = "ours, landing verification and source proof"
# The contender of the goals that name plain connectorx is the faster of its two ways.
PLAIN = ("connectorx, streamed", "connectorx, whole table")
PEAK_MB = 400
# (our contender, whom it is compared with, how many times as fast, how that is called)
RATES: tuple[tuple[str, tuple[str, ...], float], ...] = (
    (COUNTS, ("dlt, connectorx",), 1.2),
    (COUNTS, PLAIN, 0.9),
    (COUNTS, ("dlt, default",), 5.0),
    (COUNTS, ("Spark JDBC",), 2.0),
    (COUNTS, ("drain",), 0.6),
    (SUMS, ("dlt, connectorx",), 1.0),
)


def goals(results: list[Result]) -> list[Goal]:
    """Return the goals of every server that was measured."""
    found = []
    for server in dict.fromkeys(result["server"] for result in results):
        its = [result for result in results if result["server"] == server]
        found += [*_rates(server, its), *_memory(server, its), *_changes(server, its), *_many(server, its)]
    return found


def _rates(server: str, results: list[Result]) -> list[Goal]:
    rates = {
        result["contender"]: result["rows_per_s"] for result in results if "rows_per_s" in result and result["question"] == "full load"
    }
    found = []
    for ours, others, times in RATES:
        name = f"{server}: {ours}, against {'plain connectorx' if others == PLAIN else others[0]}"
        aim = f"at least {times} times its rows/s"
        known = {other: rates[other] for other in others if other in rates}
        if not known:
            why = next((result["note"] for result in results if result["contender"] == others[0]), "not measured")
            found.append(goal(name, aim, why, met=False))
            continue
        best = max(known, key=lambda other: known[other])
        share = rates[ours] / known[best]
        found.append(goal(name, aim, f"{share:.2f} ({rates[ours]:,} of {known[best]:,} rows/s, {best})", met=share >= times))
    return found


def _memory(server: str, results: list[Result]) -> list[Goal]:
    found = []
    for question, ours in (("full load", COUNTS), ("full load", SUMS), ("20 M rows", SUMS)):
        for result in results:
            if result["question"] == question and result["contender"] == ours:
                measured = f"{result['peak_mb']} MB at {result['rows']:,} rows"
                found.append(
                    goal(f"{server}: peak memory, {question}, {ours}", f"under {PEAK_MB} MB", measured, met=result["peak_mb"] < PEAK_MB)
                )
    if all(result["question"] != "20 M rows" for result in results):
        found.append(goal(f"{server}: peak memory, 20 M rows, {SUMS}", f"under {PEAK_MB} MB", "not measured: give --large", met=False))
    return found


def _changes(server: str, results: list[Result]) -> list[Goal]:
    found = []
    for result in results:
        if result["question"] == "1% changed":
            most = 0.03 * result["full_load_s"] + 1
            measured = f"{result['seconds']:.2f} s for {result['rows']:,} rows, where {most:.2f} s are allowed"
            aim = "at most 3% of the full load's time and 1 s"
            found.append(goal(f"{server}: incremental load of 1% changed rows", aim, measured, met=result["seconds"] <= most))
    return found


def _many(server: str, results: list[Result]) -> list[Goal]:
    return [
        goal(
            f"{server}: {result['tables']} small tables, {result['contender']}",
            "at least 20 tables/s",
            f"{result['tables_per_s']} tables/s",
            met=result["tables_per_s"] >= 20,
        )
        for result in results
        if result["question"] == "small tables"
    ]

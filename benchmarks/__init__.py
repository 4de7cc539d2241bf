"""Every claim about speed and safety, as a program that anybody can run again: `python -m benchmarks NAME [--json]`.

`formats` and `consumers` hold what is compared, `server` counts what it costs, and each NAME is the module that asks the questions. Times are of a
stand-in on a shared machine, so what counts are ratios, and counts of requests, objects and rows.
"""

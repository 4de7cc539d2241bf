"""The distribution `lab-insights`; this file alone declares dependencies, the `requirements*.lock` are compiled from it (`make lock`)."""

from setuptools import find_packages, setup

# One release of all of Dagster: its libraries are numbered 0.16 behind, and mixed releases break at import.
DAGSTER = "1.13.27"
DAGSTER_LIBRARY = "0.29.27"

setup(
    name="lab-insights",
    version="0.1.0",
    description="Multi-tenant laboratory data through raw, curated and transformed layers into Snowflake, on Dagster.",
    packages=find_packages(include=["lab_insights", "lab_insights.*"]),
    package_data={"lab_insights": ["**/*.json", "**/*.yaml", "**/*.j2", "**/*.properties"]},
    python_requires=">=3.11,<3.13",
    entry_points={"console_scripts": ["lab-insights = lab_insights.cli:app"]},
    install_requires=[
        f"dagster=={DAGSTER}",
        f"dagster-pipes=={DAGSTER}",
        f"dagster-webserver=={DAGSTER}",
        f"dagster-aws=={DAGSTER_LIBRARY}",
        f"dagster-postgres=={DAGSTER_LIBRARY}",
        f"dagster-pyspark=={DAGSTER_LIBRARY}",
        f"dagster-snowflake=={DAGSTER_LIBRARY}",
        "adbc-driver-manager>=1.13,<2",
        "adbc-driver-postgresql>=1.13,<2",
        "boto3>=1.43,<2",
        "botocore>=1.43,<2",
        "connectorx>=0.4.6",  # before it, `arrow_stream` is missing
        "cryptography>=45",
        "duckdb>=1.5,<2",  # Ibis 12 fails on 2.0: `to_pyarrow_batches`, `list_tables`
        "ibis-framework[duckdb]>=12,<13",
        "jinja2>=3.1,<4",
        "orjson>=3.10,<4",
        "pandas>=2.2,<3",  # PySpark 4
        "protobuf>=5,<7",  # without the bound the resolver goes back to an old Dagster in silence
        "psycopg2-binary>=2.9,<3",
        "pyarrow>=26,<27",
        "pydantic>=2.10,<3",
        "pymysql>=1.1,<2",
        "pyspark>=4,<5",
        "pyyaml>=6,<7",
        "rich>=14",
        "snowflake-connector-python>=4.8,<5",  # 5.x can not log in to the local server
        "snowflake-core>=1.13,<2",
        "sqlalchemy>=2.0,<2.1",  # 2.1 reads `postgresql://` as psycopg 3 and breaks dagster-postgres
        "sqlglot<30",  # Ibis 12
        "typer>=0.20,<1",
        "vl-convert-python>=1.9,<2",
    ],
    extras_require={
        "bench": [  # peers of the benchmarks, in an environment of their own
            "deltalake>=1.6",
            "dlt[parquet,sql-database]>=1.31,<2",
            "hl7>=0.4.5,<0.5",
            "polars>=2,<3",
            "pyiceberg[sql-sqlite]>=0.12",
        ],
        "local": [
            "moto[server]==5.2.5",
            "werkzeug==3.1.9",  # the server that moto runs on, mended where it is too slow
            "pgserver>=0.1.4",
        ],
        "scan": [  # `lab-insights catalog scan`: pattern recognisers alone, no model
            "presidio-analyzer>=2.2.360,<3",
        ],
        "dev": [
            "cfn-lint>=1.50,<2",
            "deptry>=0.25,<1",
            "hl7>=0.4.5,<0.5",
            "hypothesis>=6.150,<7",
            "import-linter>=2.16,<3",
            "mkdocs>=1.6,<2",
            "mkdocs-material>=9.6,<10",
            "mypy>=2.4,<3",
            "playwright>=1.60,<2",
            "pre-commit>=4,<5",
            "pytest>=9,<9.2",  # pytest-xdist 3.8 renames tests to keep groups together, which 9.2 ignores
            "pytest-xdist>=3.8,<4",
            "ruff>=0.17,<0.18",
            "types-pymysql",
            "types-pyyaml",
            "uv>=0.9,<1",
        ],
    },
)

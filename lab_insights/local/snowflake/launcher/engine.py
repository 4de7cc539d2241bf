"""One DuckDB for all sessions, on the files of a directory, with S3 behind `s3://`."""

from __future__ import annotations

import glob
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Any

from fakesnow import info_schema, macros
from fakesnow.instance import GLOBAL_DATABASE_NAME, FakeSnow
from fakesnow.transforms import show, stage
from s3fs import S3FileSystem

RECORD = "STAND_IN.RECORDED.STATEMENTS"


class Engine(FakeSnow):  # type: ignore[misc]
    """fakesnow's instance with every database attached at start, and its own notes (stages, users) in a file too."""

    def __init__(self, directory: Path, s3_endpoint: str) -> None:
        Path(stage.LOCAL_BUCKET_PATH).rmdir()  # made in /tmp at import, and left there by every start
        stage.LOCAL_BUCKET_PATH = str(directory / "bucket")
        self.databases = databases = directory / "databases"
        databases.mkdir(parents=True, exist_ok=True)
        super().__init__(create_database_on_connect=False, create_schema_on_connect=False, db_path=databases)
        self.results_cache = _Recent()
        self._one_at_a_time = Lock()
        duck = self.duck_conn
        duck.execute("SET GLOBAL autoinstall_known_extensions = false")  # what is missing is an error, not a download
        duck.execute("SET GLOBAL threads = 1")  # sharing the small work of a stand-in among threads costs more than it does
        duck.execute(f"DETACH {GLOBAL_DATABASE_NAME}")
        duck.execute(f"ATTACH '{directory / 'global.db'}' AS {GLOBAL_DATABASE_NAME}")
        duck.execute(info_schema.fs_global_creation_sql())
        duck.execute(show.fs_global_creation_sql())
        self.s3 = S3FileSystem(endpoint_url=s3_endpoint, key="local", secret="local", use_listings_cache=False)  # noqa: S106
        duck.register_filesystem(self.s3)
        for file in sorted({*databases.glob("*.db"), databases / "STAND_IN.db"}):
            duck.execute(f"ATTACH '{file}' AS \"{file.stem}\"")
        self._prepare_record()

    def connect(self, *args: Any, **options: Any) -> Any:
        """Return a new session."""
        with self._one_at_a_time:
            return super().connect(*args, **options)

    def record(self, kind: str, statement: str) -> None:
        """Append `statement` to the record, whatever transaction its session is in."""
        insert = f"INSERT INTO {RECORD} (KIND, STATEMENT) VALUES (?, ?)"
        self._cursor().execute(insert, [kind, statement])

    def recorded(self, kind: str) -> list[str]:
        """Return the statements of a kind (a pattern of LIKE), oldest first."""
        found = self._cursor().execute(f"SELECT STATEMENT FROM {RECORD} WHERE KIND LIKE ? ORDER BY ORDINAL", [kind]).fetchall()
        return [str(statement) for (statement,) in found]

    def revoked(self, role: str) -> bool:
        """Return whether the newest that was recorded of a role's grants to others is that it was revoked; one that nobody granted was not."""
        grants = [f"{verb} ROLE {role} " for verb in ("GRANT", "REVOKE")]
        newest = (
            f"SELECT KIND = 'REVOKE' FROM {RECORD} WHERE KIND IN ('GRANT', 'REVOKE') AND (starts_with(STATEMENT, ?) OR starts_with(STATEMENT, ?)) "
            "ORDER BY ORDINAL DESC LIMIT 1"
        )
        return bool((self._cursor().execute(newest, grants).fetchone() or (False,))[0])

    def drop_database(self, name: str) -> None:
        """Drop the database `name` with its file; raises DuckDB's error when there is none."""
        cursor = self._cursor()
        cursor.execute(f'DETACH "{name}"')
        for file in self.databases.glob(f"{glob.escape(name)}.db*"):
            file.unlink()
        noted = {
            "_fs_stages": "database_name",
            "_fs_tables_ext": "ext_table_catalog",
            "_fs_columns_ext": "ext_table_catalog",
        }
        for table, column in noted.items():
            place = f"{GLOBAL_DATABASE_NAME}._fs_information_schema.{table}"
            cursor.execute(f"DELETE FROM {place} WHERE {column} = ?", [name])

    def _cursor(self) -> Any:
        with self._one_at_a_time:  # DuckDB 2 refuses a second call on a connection that is busy
            return self.duck_conn.cursor()

    def _prepare_record(self) -> None:
        self.duck_conn.execute(info_schema.per_db_creation_sql("STAND_IN"))
        self.duck_conn.execute(macros.creation_sql("STAND_IN"))
        self.duck_conn.execute("CREATE SCHEMA IF NOT EXISTS STAND_IN.RECORDED")
        self.duck_conn.execute("CREATE SEQUENCE IF NOT EXISTS STAND_IN.RECORDED.ORDINALS")
        self.duck_conn.execute(
            f"CREATE TABLE IF NOT EXISTS {RECORD} (ORDINAL BIGINT DEFAULT nextval('STAND_IN.RECORDED.ORDINALS'), "
            "RECORDED_AT TIMESTAMP DEFAULT now()::TIMESTAMP, KIND VARCHAR, STATEMENT VARCHAR)"
        )


class _Recent(OrderedDict[str, Any]):
    """The results of the latest statements: fakesnow would keep every result of its life in memory."""

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        while len(self) > 64:
            self.popitem(last=False)

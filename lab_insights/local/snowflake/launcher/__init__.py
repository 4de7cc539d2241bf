"""The Snowflake stand-in: fakesnow behind a launcher that mends what its plain server lacks.

It runs under the interpreter of an environment of its own (fakesnow wants DuckDB 2, the product DuckDB 1.5) as
`python -m launcher` with its parent directory on the path, and so imports nothing of lab_insights. Added to fakesnow
0.12.1:

- `engine`: one instance on the files of a directory, so that state survives a restart, and `COPY` from S3 through
  s3fs;
- `mends`: NULL timestamps stay NULL (they were read as 1970-01-01), MERGE inside a transaction, exact sums,
  MD5_NUMBER_LOWER64 and _UPPER64, and unforeseen errors as SQL errors of that statement (the connector retries an
  HTTP 500 for minutes);
- `shortcuts`, `chain`, `alike`, `fast`: the same answers for half of the processor time;
- `statements`: `SWAP WITH` as three renames; roles, grants, users, warehouses, tags, policies and session settings
  are accepted and recorded, not enforced: `SELECT KIND, STATEMENT FROM STAND_IN.RECORDED.STATEMENTS ORDER BY
  ORDINAL`;
- `admin`: the routes of the admin (REST) API that provisioning uses, each turned into the SQL that it stands for;
- `keys`: a key-pair login is refused unless the user was given the public key;
- `sessions`: the transaction of a client that died is rolled back when its connection breaks;
- `application`: puts all of that around fakesnow's own HTTP application.
"""

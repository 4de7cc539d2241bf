"""The lake: where a tenant's day lies, how it is committed exactly once, and how it is read. No Dagster here.

`layout` names objects, `manifest` says what a batch holds, `storage` talks to S3, `state` to DynamoDB, `commit` is the only code that
writes data, `tables` reads it back by manifest. Readers never list: what no committed manifest names does not exist.
"""

"""What runs against your own AWS and Snowflake account, when it is asked for by `make test-live`."""

"""Another application's databases: a web shop on MySQL with a schema for each merchant, and its stock keeping, pooled, on PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

MERCHANTS = {"north": 3, "south": 5}
"""Merchants and how many orders they have; their number in stock keeping is that, too."""

PASSWORD = "s3cretOfTheShop"
"""Of the login to MySQL, which has these schemas and sees who else is at work."""

_SHOP = """
CREATE TABLE {s}.customers (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(80) NOT NULL,
  updated_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), KEY (updated_at));
CREATE TABLE {s}.orders (id INT PRIMARY KEY AUTO_INCREMENT, customer_id INT NOT NULL, total DECIMAL(10,2),
  updated_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), KEY (updated_at));
CREATE TABLE {s}.order_items (order_id INT, line INT, sku VARCHAR(20), PRIMARY KEY (order_id, line));
CREATE TABLE {s}.coupons (code VARCHAR(20), percent INT)"""
_STOCK = """
CREATE TABLE {s}.article (id bigint PRIMARY KEY, company_id int NOT NULL, sku text);
CREATE TABLE {s}.movement (id bigint PRIMARY KEY, company_id int NOT NULL, article_id bigint, moved_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE {s}.shelf (company_id int, name text, PRIMARY KEY (company_id, name));
CREATE TABLE {s}.carrier (code text PRIMARY KEY)"""

# Before any transaction of a test that runs beside this one on the same server: no ceiling holds these rows back.
_AGO = "UTC_TIMESTAMP(6) - INTERVAL 6 HOUR"


@dataclass(frozen=True)
class Shop:
    """Where the application's data is: `mysql` and `postgres` name no schema, `base` starts the names of the schemas."""

    mysql: str
    postgres: str
    base: str

    def schema(self, merchant: str) -> str:
        return f"{self.base}_{merchant}"

    @property
    def stock(self) -> str:
        return f"{self.base}_stock"


@contextmanager
def opened(mysql_url: str, postgres_url: str) -> Iterator[Shop]:
    """Create the application's schemas and rows; drop them afterwards."""
    base = f"shop{uuid.uuid4().hex[:8]}"
    login, who = sa.make_url(mysql_url).set(username=base, password=PASSWORD), f"'{base}'@'%%'"
    shop = Shop(login.render_as_string(hide_password=False), postgres_url, base)
    with _connected(mysql_url) as mysql, _connected(postgres_url) as postgres:
        try:
            mysql.exec_driver_sql(f'CREATE USER {who} IDENTIFIED BY "{PASSWORD}"')
            mysql.exec_driver_sql(f"GRANT PROCESS ON *.* TO {who}")
            for merchant, orders in MERCHANTS.items():
                mysql.exec_driver_sql(f"CREATE DATABASE {shop.schema(merchant)}")
                mysql.exec_driver_sql(f"GRANT ALL ON {shop.schema(merchant)}.* TO {who}")
                for statement in _SHOP.format(s=shop.schema(merchant)).split(";"):
                    mysql.exec_driver_sql(statement)
                mysql.exec_driver_sql(
                    f"INSERT INTO {shop.schema(merchant)}.customers (name, updated_at) VALUES ('Doe', {_AGO}), ('Roe', {_AGO})"
                )
                for number in range(orders):
                    mysql.exec_driver_sql(
                        f"INSERT INTO {shop.schema(merchant)}.orders (customer_id, total, updated_at) VALUES (1, {number}.50, {_AGO})"
                    )
            postgres.exec_driver_sql(f"CREATE SCHEMA {shop.stock}")
            for statement in _STOCK.format(s=shop.stock).split(";"):
                postgres.exec_driver_sql(statement)
            for number in MERCHANTS.values():
                postgres.exec_driver_sql(f"INSERT INTO {shop.stock}.article VALUES ({number}, {number}, 'a')")
            yield shop
        finally:
            for merchant in MERCHANTS:
                mysql.exec_driver_sql(f"DROP DATABASE IF EXISTS {shop.schema(merchant)}")
            mysql.exec_driver_sql(f"DROP USER IF EXISTS {who}")
            postgres.exec_driver_sql(f"DROP SCHEMA IF EXISTS {shop.stock} CASCADE")


@contextmanager
def _connected(url: str) -> Iterator[sa.Connection]:
    with sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool).connect() as connection:
        yield connection

"""The promise of conftest.py: tests leave nothing behind for each other."""

from __future__ import annotations

import psycopg
import pytest
import redis

from schemas import database


@pytest.mark.parametrize("time", ["first", "second"])
def test_work_on_the_connection_is_rolled_back(connection: database.Connection, time: str) -> None:
    connection.execute("create table left_behind ()")


@pytest.mark.parametrize("time", ["first", "second"])
def test_a_clean_database_loses_what_the_test_made(clean_database: str, time: str) -> None:
    with psycopg.connect(clean_database) as connection:
        connection.execute("create table left_behind ()")


def test_the_database_is_migrated(database_url: str) -> None:
    with database.connect(database_url) as connection:
        assert database.is_ready(connection)


def test_redis_answers(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping()

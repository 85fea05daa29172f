"""Products without a vector of their present text are found and encoded, whatever goes wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ranking.catalog import embeddings
from ranking.catalog import encoder as texts
from ranking.catalog.encoder import Encoder, Vectors
from schemas import database
from tests.ranking.catalog.catalogs import NOW, Catalog, Hashes, a_product, many, open_catalog


def test_what_waits_is_encoded_and_served(catalog: Catalog) -> None:
    catalog.upload(*many(3))
    assert catalog.encode() == 3
    assert list(catalog.served()) == ["p0", "p1", "p2"]
    assert catalog.waiting() == 0


def test_a_second_drain_encodes_nothing(catalog: Catalog) -> None:
    catalog.upload(*many(3))
    catalog.encode()
    encoder = Hashes()
    assert catalog.encode(encoder) == 0
    assert encoder.seen == []


def test_the_text_is_encoded_as_it_is_now(catalog: Catalog) -> None:
    catalog.upload(a_product(title="old", ago=2))
    catalog.upload(a_product(title="new", ago=1))
    encoder = Hashes()
    catalog.encode(encoder)
    assert encoder.seen == ["new"]


def test_progress_is_told(catalog: Catalog) -> None:
    catalog.upload(*many(100))
    told: list[tuple[int, int]] = []
    embeddings.drain(
        catalog.connection,
        catalog.site_id,
        Hashes(),
        lambda done, total: told.append((done, total)),
    )
    assert told == [(64, 100), (100, 100)]


def test_a_drain_stops_when_it_is_told_to(catalog: Catalog) -> None:
    catalog.upload(*many(200))
    answers = iter([False, False, True, True])
    encoded = embeddings.drain(
        catalog.connection, catalog.site_id, Hashes(), stop=lambda: next(answers)
    )
    assert (encoded, catalog.waiting()) == (64, 136)


def test_another_sites_products_are_left_alone(catalog: Catalog) -> None:
    other = open_catalog(catalog.connection)
    other.upload(*many(2))
    assert catalog.encode() == 0
    assert other.waiting() == 2


# failures ---------------------------------------------------------------------------------------


def test_one_failing_product_stops_nobody(catalog: Catalog) -> None:
    catalog.upload(*many(99), a_product("bad", title="poison"))
    assert catalog.encode() == 99
    assert embeddings.failed(catalog.connection, catalog.site_id) == 1
    [(error,)] = catalog.rows("select error from products_to_encode where site_id = %(site)s")
    assert error == "ValueError: cannot encode poison"


def test_a_failed_product_is_tried_later_and_at_last_left(catalog: Catalog) -> None:
    catalog.upload(a_product(title="poison"))
    catalog.encode()
    assert catalog.waiting() == 0
    far = NOW + timedelta(days=9)
    embeddings.drain(catalog.connection, catalog.site_id, Hashes(), at=far)
    [(attempts,)] = catalog.rows("select attempts from products_to_encode where site_id = %(site)s")
    assert attempts == embeddings.MAX_ATTEMPTS
    assert embeddings.waiting(catalog.connection, catalog.site_id, far) == 0


def test_a_new_text_gives_a_failed_product_another_chance(catalog: Catalog) -> None:
    catalog.upload(a_product(title="poison", ago=2))
    catalog.encode()
    catalog.upload(a_product(title="mended", ago=1))
    assert catalog.encode() == 1
    assert embeddings.failed(catalog.connection, catalog.site_id) == 0


def test_a_vector_that_is_not_finite_is_a_failure(catalog: Catalog) -> None:
    class Broken(Hashes):
        def encode(self, texts: Sequence[str]) -> Vectors:
            return np.full((len(texts), 384), np.nan, np.float32)

    catalog.upload(a_product())
    assert catalog.encode(Broken()) == 0
    assert embeddings.failed(catalog.connection, catalog.site_id) == 1


def test_what_the_queue_missed_is_found(catalog: Catalog) -> None:
    catalog.upload(*many(3))
    catalog.encode()
    catalog.upload(a_product("p0", title="changed", ago=0), at=NOW + timedelta(minutes=1))
    catalog.connection.execute("delete from products_to_encode")
    assert embeddings.find_dirty(catalog.connection, catalog.site_id) == 1
    assert embeddings.sites_waiting(catalog.connection, NOW) == [catalog.site_id]
    assert catalog.encode() == 1


def upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "RECIPE", texts.RECIPE + 1)


def test_after_an_upgrade_texts_of_the_old_recipe_are_encoded_anew(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "TAKEN", 2)
    catalog.upload(*many(5))
    catalog.encode()
    upgrade(monkeypatch)
    catalog.upload(a_product("new"))
    catalog.encode()
    assert embeddings.find_dirty(catalog.connection, catalog.site_id) == 5
    assert catalog.encode() == 5
    assert embeddings.find_dirty(catalog.connection, catalog.site_id) == 0


def test_a_text_that_a_recipe_leaves_empty_loses_its_vector(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.upload(*many(2))
    catalog.encode()
    upgrade(monkeypatch)
    monkeypatch.setattr(texts, "text_of", lambda record: "")
    assert embeddings.find_dirty(catalog.connection, catalog.site_id) == 0
    assert list(catalog.served()) == []


def test_a_text_that_only_the_new_recipe_finds_is_encoded(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(texts, "text_of", lambda record: "")
        catalog.upload(a_product("p1"))
    assert embeddings.find_dirty(catalog.connection, catalog.site_id) == 1


# others at the same time --------------------------------------------------------------------------


@dataclass
class Meanwhile(Hashes):
    """Does something once, in the midst of encoding."""

    act: Callable[[], None] = lambda: None

    def encode(self, texts: Sequence[str]) -> Vectors:
        act, self.act = self.act, lambda: None
        act()
        return super().encode(texts)


@contextmanager
def elsewhere(url: str, site_id: int) -> Any:
    with database.connect(url) as connection:
        yield Catalog(connection, site_id)


def test_a_text_changed_while_it_is_encoded_is_encoded_again(clean_database: str) -> None:
    with database.connect(clean_database) as connection:
        catalog = open_catalog(connection)
        catalog.upload(a_product(title="old", ago=2))
        with elsewhere(clean_database, catalog.site_id) as other:
            encoder = Meanwhile(act=lambda: other.upload(a_product(title="new", ago=1)))
            assert catalog.encode(encoder) == 1
        assert encoder.seen == ["old", "new"]
        assert catalog.served("text_hash") == dict(
            catalog.rows("select product_id, text_hash from products")  # type: ignore[arg-type]
        )


def test_a_price_changed_while_it_is_encoded_is_beside_the_vector(clean_database: str) -> None:
    with database.connect(clean_database) as connection:
        catalog = open_catalog(connection)
        catalog.upload(a_product(sale_price=10, ago=2))
        with elsewhere(clean_database, catalog.site_id) as other:
            encoder = Meanwhile(act=lambda: other.upload(a_product(sale_price=9, ago=1)))
            catalog.encode(encoder)
        assert catalog.served("sale_price") == {"p1": 9}


def test_a_product_deleted_while_it_is_encoded_stays_deleted(clean_database: str) -> None:
    with database.connect(clean_database) as connection:
        catalog = open_catalog(connection)
        catalog.upload(a_product(ago=2))
        with elsewhere(clean_database, catalog.site_id) as other:
            catalog.encode(Meanwhile(act=lambda: other.remove("p1")))
        assert catalog.served() == {}
        assert catalog.rows("select count(*) from {texts}") == [(0,)]


def test_an_upload_does_not_wait_for_the_network(clean_database: str) -> None:
    with database.connect(clean_database) as connection:
        catalog = open_catalog(connection)
        catalog.upload(a_product(title="old", ago=2))
        with elsewhere(clean_database, catalog.site_id) as other:
            other.connection.execute("set lock_timeout = '200ms'")
            catalog.encode(Meanwhile(act=lambda: other.upload(a_product(title="new", ago=1))))
        assert catalog.get()["title"] == "new"


def test_several_encoders_share_the_work(clean_database: str) -> None:
    with database.connect(clean_database) as connection:
        catalog = open_catalog(connection)
        catalog.upload(*many(1500))
        encoders = [Hashes() for _ in range(3)]
        together = threading.Barrier(3)

        def drain(encoder: Hashes) -> int:
            with database.connect(clean_database) as own:
                together.wait()
                return embeddings.drain(own, catalog.site_id, encoder)

        with ThreadPoolExecutor(3) as threads:
            assert sum(threads.map(drain, encoders)) == 1500
        texts = [text for encoder in encoders for text in encoder.seen]
        assert len(texts) == len(set(texts)) == 1500
        assert len(catalog.served()) == 1500


ENCODE_SLOWLY = """
import sys, time
from schemas import database
from ranking.catalog import embeddings
from tests.ranking.catalog.catalogs import Hashes

class Slow(Hashes):
    def encode(self, texts):
        print("encoding", flush=True)
        time.sleep(0.05)
        return super().encode(texts)

with database.connect(sys.argv[1]) as connection:
    embeddings.drain(connection, int(sys.argv[2]), Slow())
"""


@pytest.mark.heavy
def test_an_encoder_killed_in_the_midst_loses_nothing(clean_database: str) -> None:
    with database.connect(clean_database) as connection:
        catalog = open_catalog(connection)
        catalog.upload(*many(1000))
        for kill_after in (1, 2, 3, 5):
            kill_encoder(clean_database, catalog.site_id, kill_after)
        assert 0 < len(catalog.served()) < 1000
        wait_for_locks(connection)
        catalog.encode()
        assert len(catalog.served()) == 1000
        assert catalog.waiting() == 0
        assert embeddings.find_dirty(connection, catalog.site_id) == 0


def kill_encoder(url: str, site_id: int, after_slices: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ENCODE_SLOWLY, url, str(site_id)],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for _ in range(after_slices):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def wait_for_locks(connection: database.Connection) -> None:
    """Postgres frees a dead client's locks when it notices."""
    for _ in range(1000):
        row = connection.execute("select count(*) from pg_locks where locktype = 'advisory'")
        if row.fetchone() == (0,):
            return
        connection.execute("select pg_sleep(0.01)")


def test_the_true_network_finds_the_like(catalog: Catalog, true_encoder: Encoder) -> None:
    catalog.upload(
        a_product("mug", title="Red coffee mug"),
        a_product("cup", title="Cup for tea"),
        a_product("rake", title="Garden rake"),
    )
    catalog.encode(true_encoder)
    served = {name: vector.to_numpy().astype(float) for name, vector in catalog.served().items()}
    assert served["mug"] @ served["cup"] > served["mug"] @ served["rake"]

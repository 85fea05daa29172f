"""Vectors of search texts: made once, kept, never a reason to fail."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ranking.catalog import queries
from ranking.catalog.encoder import Encoder, QueryEncoder
from tests.ranking.catalog.catalogs import NOW, Catalog, Hashes


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    queries._cache.clear()
    yield
    queries._cache.clear()


def kept(catalog: Catalog) -> list[str]:
    found = catalog.rows("select text from queries where site_id = %(site)s order by text")
    return [text for (text,) in found]


def vectors(catalog: Catalog, *texts: str, encoder: Hashes | QueryEncoder) -> dict[str, object]:
    return dict(queries.vectors(catalog.connection, catalog.site_id, texts, encoder))


def test_a_new_text_is_encoded_and_kept(catalog: Catalog) -> None:
    found = vectors(catalog, "red mug", encoder=Hashes())
    assert found["red mug"].shape == (384,)  # type: ignore[attr-defined]
    assert kept(catalog) == ["red mug"]


def test_spellings_in_case_and_spaces_are_one_text(catalog: Catalog) -> None:
    encoder = Hashes()
    assert len(vectors(catalog, "Red  Mug", "red mug ", encoder=encoder)) == 2
    assert encoder.seen == ["red mug"]


def test_another_process_finds_it_in_the_table(catalog: Catalog) -> None:
    first = vectors(catalog, "mug", encoder=Hashes())
    queries._cache.clear()
    encoder = Hashes()
    again = vectors(catalog, "mug", encoder=encoder)
    assert encoder.seen == []
    assert again["mug"] == pytest.approx(first["mug"])


def test_blank_texts_have_no_vector(catalog: Catalog) -> None:
    assert vectors(catalog, " ", "", encoder=Hashes()) == {}


def test_before_the_network_is_exported_a_text_is_missing(catalog: Catalog, tmp_path: Path) -> None:
    assert vectors(catalog, "mug", encoder=QueryEncoder(tmp_path)) == {}
    assert list(vectors(catalog, "mug", encoder=Hashes())) == ["mug"]


def test_a_web_process_may_warm_up_before_the_first_query(
    true_encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path))
    monkeypatch.setattr(queries, "_query_encoder", QueryEncoder())
    assert not queries.warm_up()
    true_encoder.export()
    assert queries.warm_up()


def test_the_cache_has_an_end(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "CACHED", 2)
    vectors(catalog, "a", "b", "c", encoder=Hashes())
    assert len(queries._cache) == 2


def test_old_texts_are_forgotten(catalog: Catalog) -> None:
    vectors(catalog, "mug", encoder=Hashes())
    assert queries.purge(catalog.connection, NOW - timedelta(days=1)) == 0
    assert queries.purge(catalog.connection, NOW + timedelta(days=1)) == 1


def test_a_query_lies_near_what_it_means(catalog: Catalog, query_encoder: QueryEncoder) -> None:
    found = vectors(catalog, "coffee mug", "tea cup", "lawn rake", encoder=query_encoder)
    assert found["coffee mug"] @ found["tea cup"] > found["coffee mug"] @ found["lawn rake"]  # type: ignore[operator]

"""text-1: the identity at first, then fitted beside the live model and promoted as a whole."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import numpy as np
import pytest

from ranking.catalog import embeddings, fitting, models
from ranking.catalog.encoder import DIMENSION
from ranking.catalog.models import Model, NoModel
from schemas import database
from schemas.database import Connection
from tests.ranking.catalog.catalogs import NOW, Catalog, Hashes, a_product, many, open_catalog


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catalogs of forty are fitted; the mathematics do not mind."""
    monkeypatch.setattr(fitting, "FIT_FROM", 40)


def live(catalog: Catalog) -> Model:
    models.uncache(catalog.connection, catalog.site_id)
    return embeddings.live(catalog.connection, catalog.site_id)


def fit(catalog: Catalog, progress: fitting.Progress | None = None) -> Model | None:
    return embeddings.fit(catalog.connection, catalog.site_id, progress)


def stocked(catalog: Catalog, number: int = 40, start: int = 0) -> Catalog:
    catalog.upload(*many(number, start))
    catalog.encode()
    return catalog


def tables(catalog: Catalog) -> list[str]:
    return [
        name
        for (name,) in catalog.connection.execute(
            "select relname from pg_class where relkind = 'r' and relname like %s order by oid",
            [f"vectors_{catalog.site_id}_%"],
        )
    ]


def test_a_new_site_serves_the_identity(catalog: Catalog) -> None:
    stocked(catalog, 3)
    [(raw,)] = catalog.rows("select vector from {texts} order by product_no limit 1")
    served = catalog.served()["p0"].to_numpy().astype(np.float32)
    assert served == pytest.approx(raw.to_numpy(), abs=1e-3)


def test_a_small_catalog_is_not_fitted(catalog: Catalog) -> None:
    stocked(catalog, 3)
    assert fit(catalog) is None
    assert live(catalog).params is None


def test_a_thousand_products_are_fitted(catalog: Catalog) -> None:
    stocked(catalog, 1000)
    told: list[tuple[int, int]] = []
    model = fit(catalog, lambda done, total: told.append((done, total)))
    assert model is not None
    assert (model.model_id, model.fitted_on, model.rows) == (2, 1000, 1000)
    assert told[-1] == (1000, 1000)


def test_half_whitening_evens_out_the_axes(catalog: Catalog) -> None:
    """By its definition: variances become deviations."""
    stocked(catalog, 1000)
    model = fit(catalog)
    assert model is not None
    raw = np.stack([v.to_numpy() for (v,) in catalog.rows("select vector from {texts}")])
    mean, rotation = model._fitted  # type: ignore[misc]
    axes = (raw - mean) @ rotation
    assert axes.mean(axis=0) == pytest.approx(np.zeros(DIMENSION), abs=1e-4)
    deviations = np.sqrt(np.linalg.eigvalsh(np.cov(raw.T)))
    assert axes.var(axis=0) == pytest.approx(deviations, rel=0.01)


def test_served_vectors_are_those_of_the_model(catalog: Catalog, small: None) -> None:
    model = fit(stocked(catalog))
    assert model is not None
    [(raw,)] = catalog.rows("select vector from {texts} order by product_no limit 1")
    served = catalog.served()["p0"].to_numpy().astype(np.float32)
    assert served == pytest.approx(model.transform(raw.to_numpy()), abs=1e-3)
    assert np.linalg.norm(served) == pytest.approx(1, abs=1e-3)


def test_transform_takes_one_vector_or_many(catalog: Catalog, small: None) -> None:
    model = fit(stocked(catalog))
    assert model is not None
    raw = Hashes().encode(["a", "b"])
    assert model.transform(raw)[1] == pytest.approx(model.transform(raw[1]), abs=1e-6)
    assert model.transform(raw).dtype == np.float32


def test_a_model_is_fitted_again_when_the_catalog_has_doubled(
    catalog: Catalog, small: None
) -> None:
    fit(stocked(catalog, 40))
    assert fit(stocked(catalog, 39, start=40)) is None
    assert embeddings.is_due(catalog.connection, catalog.site_id) is False
    refitted = fit(stocked(catalog, 1, start=79))
    assert refitted is not None
    assert refitted.fitted_on == 80


def test_the_table_before_the_last_is_dropped(catalog: Catalog, small: None) -> None:
    for start, number in ((0, 40), (40, 40), (80, 80)):
        assert fit(stocked(catalog, number, start)) is not None
    assert tables(catalog) == [f"vectors_{catalog.site_id}_3", f"vectors_{catalog.site_id}_4"]


def test_what_happens_during_the_build_is_in_the_promoted_table(
    clean_database: str, small: None
) -> None:
    with database.connect(clean_database) as connection:
        catalog = stocked(open_catalog(connection))
        with database.connect(clean_database) as own:
            other = Catalog(own, catalog.site_id)
            fit(catalog, lambda done, total: shop_goes_on(other))
        assert live(catalog).model_id == 2
        assert list(catalog.served()) == sorted({f"p{n}" for n in range(1, 40)} | {"new"})
        assert catalog.served("sale_price")["p2"] == 7


def shop_goes_on(catalog: Catalog) -> None:
    catalog.upload(a_product("new"), a_product("p2", title="Thing 2", sale_price=7), at=later(1))
    catalog.remove("p0", at=later(2))
    catalog.encode()


def later(minutes: int) -> datetime:
    return NOW + timedelta(minutes=minutes)


class Killed(Exception):
    """Stands for a process that ends here."""


def test_a_fit_that_was_cut_short_changes_nothing_and_is_repeated(
    clean_database: str, small: None
) -> None:
    def die(done: int, total: int) -> None:
        raise Killed

    with database.connect(clean_database) as connection:
        catalog = stocked(open_catalog(connection))
        with pytest.raises(Killed):
            fit(catalog, die)
        assert live(catalog).model_id == 1
        model = fit(catalog)
        assert model is not None
        assert model.model_id == 3
        assert tables(catalog) == [f"vectors_{catalog.site_id}_1", f"vectors_{catalog.site_id}_3"]


def test_two_fits_at_once_are_one(clean_database: str, small: None) -> None:
    with database.connect(clean_database) as connection:
        catalog = stocked(open_catalog(connection))
        found: list[Model | None] = []

        def fit_too(done: int, total: int) -> None:
            with database.connect(clean_database) as own:
                found.append(embeddings.fit(own, catalog.site_id))

        assert fit(catalog, fit_too) is not None
        assert found == [None]


def test_uploads_go_on_while_a_model_is_promoted(clean_database: str, small: None) -> None:
    with database.connect(clean_database) as connection:
        catalog = stocked(open_catalog(connection))
        done = threading.Event()
        uploads = threading.Thread(
            target=upload_until, args=(clean_database, catalog.site_id, done)
        )
        uploads.start()
        fit(catalog)
        done.set()
        uploads.join()
        prices = dict(catalog.rows("select product_id, sale_price from products"))  # type: ignore[arg-type]
        assert catalog.served("sale_price") == prices


def upload_until(url: str, site_id: int, done: threading.Event) -> None:
    with database.connect(url) as connection:
        catalog, price = Catalog(connection, site_id), 0
        while not done.is_set():
            price += 1
            product = a_product("p3", title="Thing 3", sale_price=price)
            catalog.upload(product, at=NOW + timedelta(seconds=price))


def test_a_site_without_tables_is_named(connection: Connection) -> None:
    with pytest.raises(NoModel, match="site 4711 has no vector tables"):
        embeddings.live(connection, 4711)


# the index --------------------------------------------------------------------------------------


def has_index(catalog: Catalog, model: Model) -> bool:
    row = catalog.connection.execute(
        "select count(*) from pg_indexes where tablename = %s and indexdef like '%%hnsw%%'",
        [model.vectors_table],
    ).fetchone()
    return row == (1,)


def test_a_large_catalog_gets_an_index_that_finds_what_exact_search_finds(
    catalog: Catalog, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "INDEX_FROM", 500)
    model = fit(stocked(catalog, 500))
    assert model is not None
    assert model.has_index
    assert has_index(catalog, model)


def test_an_index_that_finds_too_little_is_not_served(
    catalog: Catalog, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "INDEX_FROM", 500)
    monkeypatch.setattr(fitting, "RECALL_WANTED", 1.1)
    model = fit(stocked(catalog, 500))
    assert model is not None
    assert not model.has_index
    assert not has_index(catalog, model)


def test_growing_past_the_index_size_is_a_reason_to_fit() -> None:
    assert fitting._wanted(0) == 1_000
    assert fitting._wanted(12_000) == 20_000
    assert fitting._wanted(20_000) == 40_000

"""From records to texts to vectors; the last tests load the true network."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ranking.catalog import encoder
from ranking.catalog.encoder import Encoder, NotExported, QueryEncoder, text_hash, text_of

ITEMS = Path(__file__).parents[4] / "shared" / "data" / "online-retail" / "items.jsonl.gz"


def a_record(**fields: Any) -> dict[str, Any]:
    return {"product_id": "p1", "title": "Oak table"} | fields


def test_a_title_stands_alone() -> None:
    assert text_of(a_record()) == "Oak table"


def test_every_part_carries_its_name() -> None:
    record = a_record(
        brand="Acme",
        categories=[["Home", "Tables"], ["Sale"]],
        tags=["oak", "solid"],
        color="brown",
        custom_attributes={"style": "rustic", "legs": ["round", "tapered"]},
        description="Seats six.",
    )
    assert text_of(record).splitlines() == [
        "Oak table",
        "brand: Acme",
        "category: Home > Tables; Sale",
        "attributes: color brown; legs round, tapered; style rustic",
        "tags: oak, solid",
        "Seats six.",
    ]


def test_html_is_read_as_text() -> None:
    html = "<style>p{color:red}</style><p>Seats&nbsp;<b>six</b> &amp; more</p><script>x()</script>"
    assert text_of(a_record(description=html)).endswith("\nSeats six & more")


def test_a_short_description_stands_in_for_a_missing_one() -> None:
    assert text_of(a_record(description="<br>", short_description="Six seats")).endswith(
        "Six seats"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"sale_price": 3, "original_price": 9, "margin": 2},
        {"availability": "OUT_OF_STOCK", "rating": 4.5, "url": "https://a.example/x"},
        {"custom_attributes": {"stock": 7, "image": "https://a.example/i.png", "on": True}},
        {"updated_at": "2024-01-01", "created_at": "2024-01-01"},
        {"title": "  Oak \n table "},
    ],
)
def test_what_says_nothing_of_the_product_changes_no_hash(fields: dict[str, Any]) -> None:
    assert text_hash(a_record(**fields)) == text_hash(a_record())


def test_a_record_without_words_has_no_hash() -> None:
    assert text_hash({"product_id": "p1", "title": " ", "sale_price": 3}) is None


@pytest.mark.parametrize("odd", [None, 7, {"a": {"b": 1}}, [[]], [None], "", [{"x": 1}], True])
@pytest.mark.parametrize(
    "name", ["title", "categories", "tags", "custom_attributes", "description"]
)
def test_odd_values_are_left_out(name: str, odd: Any) -> None:
    assert isinstance(text_of({"product_id": "p1", name: odd}), str)


# the true network ---------------------------------------------------------------------------------


def real_titles(number: int) -> list[str]:
    if not ITEMS.exists():
        pytest.skip(f"{ITEMS} is absent")
    with gzip.open(ITEMS, "rt") as lines:
        return [json.loads(line)["title"] for line, _ in zip(lines, range(number), strict=False)]


def test_queries_and_products_lie_in_one_space(
    true_encoder: Encoder, query_encoder: QueryEncoder
) -> None:
    odd = ["", "x " * 2000, "Ünïcode ✓ 日本語 " * 30, "\0"]
    texts = real_titles(60) + odd
    cosines = (true_encoder.encode(texts) * query_encoder.encode(texts)).sum(axis=1)
    assert cosines.min() >= 0.99999


def test_vectors_do_not_depend_on_their_neighbours(true_encoder: Encoder) -> None:
    texts = ["a red mug", "a very long description of a very small thing " * 9]
    alone = np.concatenate([true_encoder.encode([text]) for text in texts])
    assert np.allclose(true_encoder.encode(texts), alone, atol=1e-6)


def test_like_things_are_near(query_encoder: QueryEncoder) -> None:
    mug, cup, rake = query_encoder.encode(["red coffee mug", "cup for tea", "garden rake"])
    assert mug @ cup > mug @ rake


def test_no_texts_give_no_vectors(query_encoder: QueryEncoder) -> None:
    assert query_encoder.encode([]).shape == (0, 384)


def test_an_export_is_made_once(true_encoder: Encoder, tmp_path: Path) -> None:
    path = true_encoder.export(tmp_path)
    written = path.stat().st_mtime_ns
    assert true_encoder.export(tmp_path) == path
    assert path.stat().st_mtime_ns == written
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_before_the_export_a_query_encoder_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotExported, match="the encoder role makes it"):
        QueryEncoder(tmp_path).encode(["mug"])


def test_queries_are_encoded_without_torch(query_encoder: QueryEncoder) -> None:
    query_encoder.encode(["warm"])
    program = (
        "import sys; from pathlib import Path; from ranking.catalog import queries, encoder;"
        f"encoder.QueryEncoder(Path({str(query_encoder._folder)!r})).encode(['mug']);"
        "print(*[name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == ""


def test_the_recipe_is_part_of_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    before = text_hash(a_record())
    monkeypatch.setattr(encoder, "RECIPE", encoder.RECIPE + 1)
    assert text_hash(a_record()) != before

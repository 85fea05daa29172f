"""What does our encoding cost, the database included, beside sentence-transformers alone?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from bench import catalog
from bench.report import Line, against, known, note, percentile
from bench.stage import stage
from ranking.catalog import embeddings, encoder, products
from schemas.facts import Product

TEXTS = 2000
ROUNDS = 3


def run() -> Iterator[Line]:
    records = catalog.real_products()[:TEXTS]
    texts = [encoder.text_of(record) for record in records]
    model = encoder.Encoder()
    model.encode(texts[:64])  # warm
    ours, bare = [], []
    with stage() as on, on.pool.connection() as connection:
        for number in range(ROUNDS):
            note(f"encode: round {number + 1} of {ROUNDS}")
            began = time.perf_counter()
            model.encode(texts)
            bare.append(len(texts) / (time.perf_counter() - began))
            connection.execute(f"delete from texts_{on.site.site_id}")
            connection.execute("delete from products")
            connection.execute("delete from products_to_encode")
            products.upsert(
                connection,
                on.site.site_id,
                [Product(record) for record in records],
                datetime.now(UTC),
            )
            began = time.perf_counter()
            done = embeddings.drain(connection, on.site.site_id, model)
            ours.append(done / (time.perf_counter() - began))
    rate, alone = percentile(ours, 50), percentile(bare, 50)
    yield against("encode 2,000 texts, database included", rate, "texts/s", alone, least=0.9)
    yield from _queries(texts[:200])


def _queries(texts: list[str]) -> Iterator[Line]:
    """onnxruntime against torch, one query text at a time."""
    torch_model = encoder.Encoder()
    torch_model.export()
    onnx_model = encoder.QueryEncoder()
    for name, model in (("torch", torch_model), ("onnxruntime", onnx_model)):
        spent = []
        for text in texts:
            began = time.perf_counter()
            model.encode([text])
            spent.append((time.perf_counter() - began) * 1000)
        yield known(f"encode one query text, {name}, p50", percentile(spent[20:], 50), "ms")

"""The encoder and what it works on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gateway.doctor.finding import Check, Finding, Patient, ago, ok, problem, warning
from ranking.catalog import embeddings
from ranking.catalog.encoder import Encoder, QueryEncoder, exported_path
from schemas import database

SQL = database.queries(__file__)

SENTINEL = "red wool hiking socks for winter, size 42"
EQUAL = 0.9999  # cosine; measured .9999999 for the same weights
WAITS_S = 3600


def encoder(patient: Patient) -> Iterator[Finding]:
    """The network that encodes searches must say what the one that encodes products says."""
    folder = patient.settings.home / "models"
    path = exported_path(folder)
    if not path.exists():
        yield warning(
            f"{path} is not there: searches by new words find by words alone",
            "start an encoder on this machine, which makes it",
        )
        return
    try:
        [query] = QueryEncoder(folder).encode([SENTINEL])
    except Exception as error:  # onnxruntime has no base of its own
        yield problem(
            f"{path} cannot be used: {str(error).splitlines()[0]}",
            "delete it and start the encoder anew, which makes it again",
        )
        return
    [document] = Encoder(patient.settings.encoder_threads).encode([SENTINEL])
    similarity = float(np.dot(query, document))
    if similarity < EQUAL:
        yield problem(
            f"the exported network differs from the transformer: {similarity:.4f} on the sentinel",
            f"delete {path} and start the encoder anew, which makes it again",
        )
    else:
        yield ok("searches and products are encoded alike")


def products(patient: Patient) -> Iterator[Finding]:
    """Products that were given up, and a queue that does not move."""
    parameters = {"most": embeddings.MAX_ATTEMPTS}
    rows = patient.connection.execute(SQL.products, parameters).fetchall()
    for site, failed, error, waiting, age in rows:
        if failed:
            yield warning(
                f"{site}: products that cannot be encoded: {failed}; {(error or '')[:200]}",
                "they are found by words and filters only; change their text, which tries anew",
            )
        if age > WAITS_S:
            yield problem(
                f"{site}: products that wait for the encoder: {waiting}, the oldest for {ago(age)}",
                f"see that an encoder runs; `python -m gateway encode {site}` does it at once",
            )
    if not any(row[1] or row[4] > WAITS_S for row in rows):
        yield ok("the encoder keeps up")


CHECKS = (
    Check("encoder", encoder),
    Check("products", products, ("schema",)),
)

"""A learned version that nobody trained: for what deals with versions, not with what they know."""

from __future__ import annotations

import numpy as np

from ranking.catalog import learned_models
from ranking.catalog.learned import SHAPES, Mix, Network, written
from ranking.catalog.learned_models import Learned
from ranking.training import build
from schemas.database import Connection


def a_network(seed: int = 0) -> Network:
    """Weights drawn at random."""
    random = np.random.default_rng(seed)
    weights = {
        name: np.asarray(random.normal(scale=0.1, size=shape), np.float32)
        for name, shape in SHAPES.items()
    }
    return Network(weights | {"mix": np.array(Mix(), np.float32)})


def a_version(connection: Connection, site_id: int, seed: int = 0) -> Learned:
    """Built, ready to be promoted."""
    network = a_network(seed)
    learned = learned_models.begin(connection, site_id, network, written(network))
    connection.execute(
        "update models set state = 'retired' where site_id = %s and model_id = %s",
        [site_id, learned.model_id],
    )
    return build.fill(connection, learned, {}, lambda done, of: None)

"""What is behind a person's taste, as a person looks at it: who is like them, which clusters their
shop has. For commands and `/admin/v1`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from gateway import inspection
from gateway.access import Site
from gateway.inspection import Unknown
from ranking import styles
from ranking.similar_users import similar_users as found_similar
from schemas.database import Connection

SIMILAR = 20
LISTED = 24
AT_MOST = 100


def similar_users(
    connection: Connection, site: Site, sent_id: str, *, at: datetime, limit: int = SIMILAR
) -> list[dict[str, Any]]:
    """Whose taste is like that of the person an id names, each with the score and what they share;
    raises Unknown."""
    named = inspection.actors_of_id(connection, site, sent_id)
    if not named:
        raise Unknown(f"nobody was ever seen as {sent_id!r}")
    people = found_similar(connection, site.site_id, named[0], at=at, limit=limit)
    return [asdict(one) for one in people]


def clusters(connection: Connection, site: Site) -> list[dict[str, Any]]:
    """The style clusters of a site, those that are asked for most first."""
    return styles.clusters(connection, site.site_id)


def cluster(
    connection: Connection, site: Site, cluster_id: int, *, at: datetime, limit: int = LISTED
) -> dict[str, Any]:
    """One cluster with its products and who likes it most; raises Unknown."""
    found = styles.cluster(connection, site.site_id, cluster_id, at=at, limit=limit)
    if found is None:
        raise Unknown(f"there is no cluster {cluster_id}: `clusters {site.name}` lists them")
    return found

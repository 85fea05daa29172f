"""How Postgres finds what a request needs: each request asks as its visitors do, and every plan of
every statement that it runs is looked at.

A request may not read a table from end to end, nor, by whatever index, more rows than it has a
reason for: at a hundred times as many products it must take as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from gateway import access, sealing
from gateway.http import create_app, state
from gateway.settings import load
from schemas import database
from tests.conftest import SECRET_KEY, copied
from tests.ranking.plans.crowd import VISITORS, Crowd, a_crowd, settle, spelled
from tests.ranking.plans.recording import Node, Recorder

# After ten times Postgres may use one plan for all values, so more often than that.
TIMES = 12
# A row or a few a site: the whole table is a page or two.
SMALL = {
    "sites", "keys", "sources", "models", "popularity_sites", "suggestion_sites", "cluster_sites",
}  # fmt: skip
# Rows that one step may look at: candidates come in pools, and samples, of so many at most.
ENOUGH = 2_600


@dataclass(frozen=True)
class Asked:
    """A request, the indexes that must be used for it, and the tables of which more is read than
    ENOUGH, each with the reason."""

    path: str
    body: dict[str, Any]
    by: set[str]
    whole: dict[str, str]


def ask(path: str, by: str = "", *, whole: dict[str, str] | None = None, **body: Any) -> Asked:
    rows = {} if path in ("search/mget", "bulk") else {"rows": 24}
    return Asked(path, rows | body, set(by.split()), whole or {})


RARE, COMMON = spelled(5), "common"
RECOMMEND, TRENDING = "recommendation/user_to_products", "recommendation/user_to_trending"
SIMILAR = "recommendation/product_to_products"
CATEGORIES = "recommendation/user_to_categories"
ATTRIBUTES = "recommendation/user_to_attributes"
SEARCH, COMPLETE = "search/search", "search/autocomplete"
NEAR = {"filter": [{"lat": 46.5, "lon": 7.2, "distance": 3}]}

# Statements that may read all of a site, by how they begin after their comments: their answers are
# kept for everybody.
CHEAP = {
    'select count(*) from "vectors_': "of catalogs under 20,000, once a second",
    "with sampled as materialized (\n  select language": "5,000 products, once a minute",
    "select count(*) from product_words w where w.site_id = $1": "once a minute",
    "select count(*), count(distinct w.group_key)\nfrom product_words": "a search, once a minute",
    "select count(*) from products p": "a value of a field, once a minute",
    "with found as materialized (\n  select w.product_no, w.group_key from product_words": (
        "facets of a search, once a minute"
    ),
}
# Of one request.
NO_INDEX = (
    "exact search of few matches: with an index of prices each new price would put its product's "
    "vector into the graph anew"
)
DEEP = "rules look at 200 products, more than a pool of candidates is good for: all are compared"
ITS_LIST = "of a word that every title has the index holds one list, which is read in one go"
NEWEST = "the newest of the site: to find those of a product would take an index on each event"
IN_ORDER = "walks down the order until enough pass the filter"

ASKED: dict[str, Asked] = {
    "recommend_the_nearest_by_the_graph": ask(
        RECOMMEND, "vectors_hnsw popularity_pkey neighbours_pkey"
    ),
    "recommend_to_nobody_what_is_popular_in_its_order": ask(RECOMMEND, "popularity_popular"),
    "recommend_a_half_by_the_graph": ask(RECOMMEND, "vectors_hnsw", fq="tags:half"),
    "recommend_a_tenth_by_its_term": ask(RECOMMEND, "vectors_terms", fq="tags:tenth"),
    "recommend_a_hundredth_by_its_term": ask(RECOMMEND, "vectors_terms", fq="tags:hundredth"),
    "recommend_by_price_comparing_exactly": ask(
        RECOMMEND, whole={"vectors": NO_INDEX}, fq="original_price:[20 TO 25]"
    ),
    "recommend_near_a_place_by_latitude": ask(RECOMMEND, "product_places_lat", geo=NEAR),
    "recommend_pages_by_their_list_and_groups": ask(
        RECOMMEND, "paged_lists_pkey products_group", pagination_id="p", start=24
    ),
    "recommend_what_is_boosted_by_its_term": ask(
        RECOMMEND, "vectors_terms", boost_fq="tags:hundredth",
        diversification={"brand": {"minimum_distance": 2}},
    ),
    "recommend_without_products_by_their_ids": ask(
        RECOMMEND, "products_pkey", exclude=["p1", "p2"]
    ),
    "recommend_with_records_by_number": ask(
        RECOMMEND, "products_site_id_product_no_key", fl=["*"], explain=True
    ),
    "recommend_what_a_cohort_likes_by_its_people": ask(
        RECOMMEND, "profiles_pkey vectors_hnsw", user_cohort={"country": "CH"}
    ),
    "recommend_by_chance_among_the_newest": ask(
        RECOMMEND, "newcomers_open vectors_pkey", seed="s"
    ),
    "similar_by_chance_among_the_newest": ask(
        SIMILAR, "newcomers_open vectors_pkey", product_id="p17", seed="s"
    ),
    "trending_in_its_order": ask(TRENDING, "popularity_trending"),
    "trending_of_a_hundredth_by_its_term": ask(
        TRENDING, "products_terms", whole={"popularity": IN_ORDER}, fq="tags:hundredth"
    ),
    "history_by_the_visitors_events": ask(
        "recommendation/user_to_history", "events_actor events_purchases members_pkey"
    ),
    "feed_of_the_nearest_and_the_rising": ask(
        "recommendation/feed", "vectors_hnsw popularity_trending"
    ),
    "similar_to_a_product_by_its_id": ask(SIMILAR, "products_pkey vectors_hnsw", product_id="p17"),
    "similar_to_a_group_by_its_key": ask(
        SIMILAR, "products_group vectors_hnsw", product_group_id="g17"
    ),
    "together_by_the_products_in_the_cart": ask(
        SIMILAR, "bought_together_pkey products_group", product_ids=["p17", "p18"],
        buy_together=True,
    ),
    "categories_of_the_nearest_by_the_graph": ask(
        CATEGORIES, "vectors_hnsw", rows=5
    ),
    "categories_below_one_by_its_term": ask(
        CATEGORIES, "products_terms", rows=5, root_category=["Home"]
    ),
    "attributes_of_the_nearest_by_the_graph": ask(
        ATTRIBUTES, "vectors_hnsw", rows=5, field="brand"
    ),
    "audience_by_the_products_vectors": ask(
        "recommendation/audience", "vectors_pkey products_pkey events_pkey",
        whole={"events": NEWEST}, product_id="p3",
    ),
    "search_of_few_by_their_words": ask(
        SEARCH, "product_words_words",
        q=f"{RARE} {spelled(905)}",
    ),
    "search_of_many_by_popularity_and_nearness": ask(
        SEARCH, "popularity_popular vectors_hnsw", q=COMMON
    ),
    "search_within_a_filter_by_words_and_terms": ask(
        SEARCH, "product_words_words", q=COMMON, fq="tags:hundredth"
    ),
    "search_with_a_typo_by_words_without_letters": ask(
        SEARCH, "vocabulary_keys", q=f"{RARE} comon"
    ),
    "search_with_meaning_by_the_graph": ask(
        SEARCH, "vectors_hnsw", q="seen before", enable_semantic_search=True
    ),
    "search_of_some_words_by_the_rarest": ask(
        SEARCH, "product_words_words",
        q=f"{RARE} {spelled(31)}", enable_partial_match=True,
    ),
    "search_of_everything_by_the_graph": ask(
        SEARCH, "vectors_hnsw", q="*"
    ),
    "search_that_counts_everything": ask(
        SEARCH, "facet_values_term",
        q="*", facets=[{"field": "brand"}, {"field": "original_price"}],
    ),
    "search_that_counts_a_few_by_their_words": ask(
        SEARCH, "product_words_words product_facets_pkey", q=spelled(905),
        facets=[{"field": "brand"}],
    ),
    "search_in_order_by_words": ask(
        SEARCH, "product_words_words", q=spelled(905), order_by=[{"field": "original_price"}]
    ),
    "search_in_order_of_distance_by_number": ask(
        SEARCH, "product_words_words product_places_pkey", q=spelled(905),
        order_by=[{"field": "_geo_distance", "geo": {"lat": 46, "lon": 7}}],
    ),
    "search_with_an_anchor_comparing_every_match": ask(
        SEARCH, "popularity_popular vectors_hnsw",
        whole=dict.fromkeys(("product_words", "products", "popularity", "vectors"), DEEP),
        q=COMMON, anchoring_settings=[{"product_id": "p1", "anchor_ids": ["p2"]}],
    ),
    "search_marked_by_number": ask(
        SEARCH, "product_words_pkey", q=f"{RARE} {COMMON}", fl=["title"],
        enable_matched_fields=True, explain=True,
    ),
    "autocomplete_by_words_begun": ask(COMPLETE, "completions_words", q=RARE[:3]),
    "autocomplete_of_nothing_by_weight": ask(COMPLETE, "completions_weight", q=""),
    "autocomplete_of_a_word_that_all_have_by_its_list": ask(
        COMPLETE, "completions_words", whole={"completions": ITS_LIST}, q="comm"
    ),
    "autocomplete_with_a_typo_by_words_without_letters": ask(
        COMPLETE, "vocabulary_keys completions_words", q=f"{RARE[1:]} comon"
    ),
    "autocomplete_of_each_field_by_words_begun": ask(
        COMPLETE, "completions_words", q="b",
        completion_fields=["title", "brand", "categories", "historical_queries"],
    ),
    "mget_by_id_and_number": ask(
        "search/mget", "products_pkey products_site_id_product_no_key",
        product_ids=["p1", "p2", "nothing"],
    ),
    "bulk_as_what_is_in_it": ask(
        "bulk", "product_words_words events_actor",
        requests=[
            {"api_name": SEARCH, "body": {"q": f"{RARE} {COMMON}", "anonymous_id": "v399"}}
        ],
    ),
}  # fmt: skip


@dataclass
class Door:
    """The application on the two crowded sites; every visitor is new to the process."""

    client: FlaskClient
    crowd: Crowd
    recorder: Recorder
    visitors: Iterator[str]

    def nodes(self, name: str) -> list[Node]:
        """Every step of every plan of a request that is sent TIMES."""
        asked = ASKED[name]
        body = dict(asked.body)
        if asked.path not in ("search/mget", "bulk", "recommendation/audience"):
            body["anonymous_id"] = self._who(name)
        headers = {"X-API-KEY": self.crowd.secret_key}
        share = {"exploration": 0.5 if "chance" in name else None}
        set_ = self.client.patch("/admin/v1/settings", json=share, headers=headers)
        assert set_.status_code == 200, set_.text
        self.recorder.nodes.clear()
        for _ in range(TIMES):
            answer = self.client.post(f"/v1/{asked.path}", json=body, headers=headers)
            assert answer.status_code == 200, answer.text
        return list(self.recorder.nodes)

    def _who(self, name: str) -> str:
        strange = "nobody" in name or "cohort" in name
        return "stranger" if strange else next(self.visitors)


@pytest.fixture(scope="module")
def door(
    servers: dict[str, str],
    template_url: str,
    worker_name: str,
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Door]:
    url = copied(servers, template_url, f"plans_{worker_name}")
    home: Path = tmp_path_factory.mktemp("home")
    values = {
        "DATABASE_URL": url, "REDIS_URL": redis_url, "ATTUNE_HOME": str(home),
        "ATTUNE_SECRET_KEY": SECRET_KEY,
    }  # fmt: skip
    access.forget()
    sealing.unlock(SECRET_KEY)
    with database.connect(url) as connection:
        crowd = a_crowd(connection, "one", 12_000)
        a_crowd(connection, "other", 3_000)
        settle(connection)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        app = create_app(load())
    recorder = Recorder()
    state.of(app).prepare = recorder.watch
    visitors = (f"v{number}" for number in range(VISITORS))
    yield Door(app.test_client(), crowd, recorder, visitors)
    state.of(app).close()
    access.forget()


@pytest.mark.parametrize("name", ASKED)
def test_a_request_finds(door: Door, name: str) -> None:
    nodes, asked = door.nodes(name), ASKED[name]
    used = {node.index for node in nodes}
    assert asked.by <= used, f"not by {asked.by - used}, but by {used}"
    for node in nodes:
        assert is_enough(node) or node.table in asked.whole or is_cheap(node), str(node)


def is_enough(node: Node) -> bool:
    """Whether it read no more than what every request may. A partition of the coming month is
    empty, and read as it is."""
    scans = node.kind == "Seq Scan" and node.read and node.table not in SMALL
    return not scans and node.read <= ENOUGH


def is_cheap(node: Node) -> bool:
    text = "\n".join(line for line in node.statement.split("\n") if not line.startswith("--"))
    return text.startswith(tuple(CHEAP))

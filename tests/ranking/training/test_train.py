"""From events in Postgres to a version that is live, or is not: what deserves to be, and nothing
else."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from ranking.catalog import fitting, learned_models, models, neighbours
from ranking.catalog.learned import KINDS, WIDTH, written
from ranking.training import gate, mixture, promote, reading
from ranking.training import train as training
from ranking.training.corpus import Instances
from ranking.training.promote import NoSuchVersion
from tests.ranking.market import Market, ids
from tests.ranking.training.shops import (
    DAYS,
    archived,
    stocked,
    train,
    visits_by_chance,
    visits_by_colour,
)
from tests.ranking.training.versions import a_version

MANY = 2_000


def live(market: Market) -> learned_models.Learned | None:
    learned_models.uncache(market.connection, market.site_id)
    return learned_models.live(market.connection, market.site_id)


@pytest.fixture
def trained(market: Market) -> Market:
    """A shop whose first version is live."""
    stocked(market)
    archived(market, visits_by_colour(MANY))
    outcome = train(market)
    assert outcome.promoted, outcome.record
    live(market)
    return market


def test_what_the_archive_tells_goes_live(trained: Market) -> None:
    [version, *_] = promote.versions(trained.connection, trained.site_id)
    assert (version["name"], version["state"]) == ("learned-1", "live")
    record = version["record"]
    assert record["verdict"] == "good"
    assert record["events"] > 3 * MANY
    assert set(record["compared"][gate.UNTRAINED]) == {"k=1", "k=2", "k=3", "p_not_better"}
    assert {one["name"] for one in record["guardrails"]} >= {
        "recall@24 of its index", "ms that half of the searches take", "drift of event types",
    }  # fmt: skip


def test_lists_follow_it(trained: Market) -> None:
    """What comes next in this shop, though the texts do not tell."""
    trained.happens("somebody", ("product_detail_page_view", "red mug"))
    assert trained.list("somebody", rows=1) == ["red scarf"]


def test_a_score_is_the_sum_of_its_parts_and_follows_the_order(trained: Market) -> None:
    trained.happens("somebody", ("product_detail_page_view", "red mug"))
    products = trained.ask("somebody", rows=40).products
    scores = [one.score for one in products]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= one.score <= 1 for one in products)
    assert all(sum(one.parts.values()) == one.score for one in products)
    learned = live(trained)
    assert learned is not None
    named = {"interest", "popularity"} | ({"text"} if learned.network.mix.text else set())
    assert {name for one in products for name in one.parts} == named


def test_the_event_behind_a_product_is_all_its_interest(trained: Market) -> None:
    trained.happens("somebody", ("product_detail_page_view", "red mug"))
    learned, taste = live(trained), trained.profile("somebody").taste
    assert learned is not None and taste is not None
    numbers = trained.numbers()
    known = learned_models.vectors(trained.connection, learned, numbers.values())
    for one in trained.ask("somebody", rows=3, explain=True).products:
        assert one.explanation is not None
        [because] = one.explanation["because"]
        inner = float(taste @ known[numbers[one.product_id]][:WIDTH])
        assert because["share"] == pytest.approx(inner, abs=1e-3)


def test_a_new_product_ranks_the_moment_it_is_encoded(trained: Market) -> None:
    trained.happens("somebody", ("product_detail_page_view", "red mug"))
    trained.product("red scarf scarf")
    assert "red scarf scarf" in trained.list("somebody", rows=8)


def test_a_product_keeps_its_history_when_its_text_changes(trained: Market) -> None:
    number = trained.numbers()["red mug"]
    learned = live(trained)
    assert learned is not None
    before = learned_models.histories(trained.connection, learned.model, [number])[number]
    trained.product("red mug", title="red cup")
    after = learned_models.histories(trained.connection, learned.model, [number])[number]
    assert (before == after).all()
    [vector] = learned_models.vectors(trained.connection, learned, [number]).values()
    assert not np.allclose(vector[:WIDTH], before[:WIDTH], atol=0.1)  # its text counts too


def test_a_removed_product_is_in_no_list(trained: Market) -> None:
    trained.happens("somebody", ("product_detail_page_view", "red mug"))
    trained.remove("red scarf")
    assert "red scarf" not in trained.list("somebody", rows=40)


def test_a_search_counts_in_the_same_space(trained: Market) -> None:
    trained.searches("somebody", "red mug")
    assert trained.profile("somebody").taste is not None
    assert trained.list("somebody", rows=5)


def test_the_same_archive_and_seed_make_the_same_version(trained: Market) -> None:
    first = live(trained)
    trained.connection.execute("delete from training_checkpoints")
    train(trained)
    [again, *_] = trained.connection.execute(
        "select params from models where site_id = %s order by model_id desc", [trained.site_id]
    ).fetchone()
    assert first is not None
    assert again == written(first.network)


def test_the_next_training_goes_on_from_the_last_ones_cut(trained: Market) -> None:
    [first, *_] = promote.versions(trained.connection, trained.site_id)
    lately = ((f"new{who}", days / 20, what) for who, days, what in visits_by_colour(200, seed=2))
    archived(trained, lately)
    outcome = train(trained)
    assert outcome.record is not None
    assert outcome.record["went_on_from"][:19] == first["record"]["held_out_from"][:19]
    assert outcome.record["held_out_from"] >= first["record"]["held_out_from"]


def test_it_begins_anew_after_many(trained: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ranking.training.checkpoint.MOST", 1)
    outcome = train(trained)
    assert outcome.record is not None
    assert outcome.record["went_on_from"] is None


def test_lists_are_those_that_were_judged(trained: Market) -> None:
    """What is served is what arrays said, product by product and score by score."""
    connection, site_id, at = trained.connection, trained.site_id, trained.now
    neighbours.refresh(connection, site_id, at)
    archive = reading.archive(connection, site_id, at, lambda stage, done, of: None)
    learned = live(trained)
    assert learned is not None
    known = learned_models.vectors(connection, learned, archive.product_nos.tolist())
    reasons = mixture.told(
        learned.network,
        np.stack([known[number] for number in archive.product_nos.tolist()]),
        models.live(connection, site_id).transform(archive.texts),
        mixture.taken_beside(archive.corpus, at.timestamp()),
    )
    number_of = trained.numbers()
    rows = {one: archive.product_nos.tolist().index(number) for one, number in number_of.items()}
    seen, view = rows["red mug"], KINDS.index("view")
    nothing = np.zeros(1, np.int64)
    asked = Instances(1, np.array([[seen]]), np.array([[view]]), nothing, nothing, nothing)
    [scores] = mixture.by_mix(reasons, learned.network.mix)(asked)
    trained.happens("somebody", ("product_detail_page_view", "red mug"))
    products = trained.ask("somebody", rows=10).products
    assert len(products) == 10
    for one in products:
        assert one.score == pytest.approx(scores[rows[one.product_id]], rel=0.02, abs=1e-4)
    assert (
        ids(trained.ask("somebody", rows=3))
        == [one for one, row in sorted(rows.items(), key=lambda item: -scores[item[1]])][:3]
    )


def test_a_large_catalog_has_an_index_that_finds_what_it_must(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "INDEX_FROM", 20)
    stocked(market)
    archived(market, visits_by_colour(MANY))
    outcome = train(market)
    assert outcome.promoted and outcome.record is not None, outcome.record
    learned = live(market)
    assert learned is not None and learned.model.has_index
    [recall] = [one for one in outcome.record["guardrails"] if one["name"].startswith("recall")]
    assert recall["value"] >= recall["bar"] == gate.RECALL_LEAST
    monkeypatch.setattr(gate, "RECALL_LEAST", 1.1)
    assert "recall@24 of its index" in " ".join(train(market).record["reasons"])  # type: ignore[index]


# by hand ------------------------------------------------------------------------------------------


def test_rollback_goes_back_to_texts_and_promotion_comes_back(trained: Market) -> None:
    learned = live(trained)
    assert learned is not None
    assert promote.rollback(trained.connection, trained.site_id) is None
    assert live(trained) is None
    promote.promote_by_hand(trained.connection, trained.site_id, learned.model_id)
    back = live(trained)
    assert back is not None and back.model_id == learned.model_id


def test_what_changed_while_a_version_rested_is_caught_up(trained: Market) -> None:
    learned = live(trained)
    assert learned is not None
    promote.rollback(trained.connection, trained.site_id)
    live(trained)
    trained.product("red scarf scarf")
    trained.remove("red clock")
    promote.promote_by_hand(trained.connection, trained.site_id, learned.model_id)
    live(trained)
    trained.happens("somebody", ("product_detail_page_view", "red mug"))
    found = trained.list("somebody", rows=40)
    assert "red scarf scarf" in found
    assert "red clock" not in found


def promoted(market: Market, seed: int) -> int:
    """A version that nobody judged."""
    learned = a_version(market.connection, market.site_id, seed)
    promote.promote(market.connection, learned)
    return learned.model_id


def test_what_was_gone_back_from_is_not_gone_back_to(market: Market) -> None:
    market.stock("red mug", "blue hat")
    first, second = promoted(market, 1), promoted(market, 2)
    assert promote.rollback(market.connection, market.site_id) == first
    third = promoted(market, 3)
    assert promote.rollback(market.connection, market.site_id) == first
    assert {second, third} <= {
        one["model_id"]
        for one in promote.versions(market.connection, market.site_id)
        if one["can_serve"] and one["state"] == "retired"
    }


def test_a_schedule_promotes_nothing_over_a_rollback(trained: Market) -> None:
    promote.rollback(trained.connection, trained.site_id)
    outcome = train(trained, scheduled=True)
    assert not outcome.promoted and live(trained) is None
    assert outcome.record is not None and "went back" in outcome.record["held"]
    assert outcome.model_id is not None
    promote.promote_by_hand(trained.connection, trained.site_id, outcome.model_id)
    assert train(trained, scheduled=True).promoted


def test_a_training_by_hand_promotes_after_a_rollback(trained: Market) -> None:
    promote.rollback(trained.connection, trained.site_id)
    assert train(trained).promoted


def test_what_is_forgotten_serves_no_more(trained: Market) -> None:
    learned_models.forget(trained.connection, trained.site_id)
    assert live(trained) is None
    for one in promote.versions(trained.connection, trained.site_id):
        assert not one["can_serve"] or one["name"] == "text-1"
    kept = trained.connection.execute(
        "select count(params) from models where site_id = %s and name = 'learned-1'",
        [trained.site_id],
    ).fetchone()
    assert kept == (0,)


def test_nothing_to_go_back_from_is_said(market: Market) -> None:
    with pytest.raises(NoSuchVersion):
        promote.rollback(market.connection, market.site_id)
    with pytest.raises(NoSuchVersion):
        promote.promote_by_hand(market.connection, market.site_id, 7)


def test_a_profile_is_made_anew_for_another_version(trained: Market) -> None:
    trained.happens("somebody", ("product_detail_page_view", "red mug"))
    assert trained.profile("somebody").taste is not None
    promote.rollback(trained.connection, trained.site_id)
    live(trained)
    assert trained.profile("somebody").taste is None


# what never goes live -----------------------------------------------------------------------------


def test_an_empty_archive_is_skipped(market: Market) -> None:
    outcome = train(market)
    assert outcome.skipped is not None and "too few" in outcome.skipped


def test_events_of_one_moment_are_skipped(market: Market) -> None:
    stocked(market)
    archived(market, ((who, 3.0, what) for who, _, what in visits_by_colour(800)), step_s=0.0)
    outcome = train(market)
    assert outcome.skipped is not None and "days" in outcome.skipped


def refused(market: Market) -> list[str]:
    outcome = train(market)
    assert outcome.skipped is None, outcome.skipped
    assert not outcome.promoted
    assert live(market) is None
    assert outcome.record is not None
    reasons: list[str] = outcome.record["reasons"]
    return reasons


def test_visits_by_chance_are_refused(market: Market) -> None:
    stocked(market)
    archived(market, visits_by_chance(MANY))
    assert "not proved better than untrained lists" in " ".join(refused(market))


def test_one_visitor_with_very_many_events_teaches_nothing(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ranking.training.cleaning.MOST_A_DAY", 100)
    stocked(market)
    machine = [
        ("machine", 20.0 - visit / 30, what)
        for visit, (_, _, what) in enumerate(visits_by_colour(MANY))
    ]
    archived(market, machine)
    outcome = train(market)
    assert outcome.skipped is not None and "too few" in outcome.skipped


def test_a_burst_does_not_judge_what_it_taught(market: Market) -> None:
    """Visits at random for weeks, then hundreds in the last hour that all do the same."""
    stocked(market)
    archived(market, visits_by_chance(MANY))
    hour = ((f"bot{n}", n / 700 / 24, what) for n, (_, _, what) in enumerate(visits_by_colour(700)))
    archived(market, hour)
    record = train(market).record
    assert record is not None
    until = (market.now - timedelta(days=1)).isoformat()
    assert record["held_out_from"] < until
    # Of the last day as many as three usual days have, and what the days before it had.
    assert record["compared"][gate.UNTRAINED]["k=1"]["n"] < 300


def test_visits_of_one_event_do_not_move_the_cut(market: Market) -> None:
    """A crawler without cookies is a new visitor at each page."""
    stocked(market)
    archived(market, visits_by_colour(MANY))
    archived(market, ((f"crawler{n}", n / 300 / 24, ["red mug"]) for n in range(300)))
    outcome = train(market)
    assert outcome.promoted, outcome.record


def test_many_machines_that_look_at_the_same_are_refused(market: Market) -> None:
    """Each of them short enough to pass for a visitor."""
    stocked(market)
    archived(market, visits_by_chance(600))
    series = ["red mug", "blue lamp", "green vase", "pink rug"]
    archived(market, ((f"bot{n}", DAYS * n / 3000, series) for n in range(1, 3000)))
    assert refused(market)


def test_a_killed_training_leaves_what_is_live(
    trained: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = live(trained)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ranking.training.build.fill", killed)
    monkeypatch.setattr(gate, "compare", lambda *_, **__: None)
    monkeypatch.setattr(gate, "guard", lambda *_, **__: None)
    with pytest.raises(KeyboardInterrupt):
        train(trained)
    after = live(trained)
    assert before is not None and after is not None
    assert after.model_id == before.model_id
    trained.happens("somebody", ("product_detail_page_view", "red mug"))
    assert ids(trained.ask("somebody"))


def test_one_training_at_a_time(market: Market, database_url: str) -> None:
    from schemas import database

    with database.connect(database_url) as other, training._alone(other) as alone:
        assert alone
        assert train(market).busy
    assert train(market).skipped

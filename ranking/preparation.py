"""A question with all that a strategy needs to answer it: what its text means, the model, the
visitor, and the products that must not be in the list. `answer` asks it of every question.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

import psycopg

from ranking.catalog import models, records, spelling, words
from ranking.catalog.models import Model
from ranking.catalog.nearest import Vector
from ranking.catalog.spelling import Spelling
from ranking.question import Question
from ranking.strategies import learned, search
from ranking.visitors import cohort, profile
from ranking.visitors.profile import NOBODY, Profile
from schemas import tracing
from schemas.database import Connection

# Recommending these again would be pointless; similar and history have reasons to show them.
WITHOUT_TOUCHED = frozenset(("recommend", "trending", "popular", "feed"))
# What leans to the visitor's interests.
PERSONAL = frozenset(("recommend", "search", "feed"))
WITHOUT_PROFILE = frozenset(("similar", "together"))


def spelled(connection: Connection, question: Question) -> tuple[Question, Spelling | None]:
    """The question with the words that were probably meant, and what was wrong with those typed.
    No search waits long for it."""
    asked = question.search
    if question.strategy != "search" or search.says_nothing(asked.text):
        return question, None
    languages = words.asked_for(connection, question.site_id, asked.language)
    try:
        with tracing.span("spelling"):
            found = spelling.corrected(connection, question.site_id, asked.text, languages)
    except psycopg.errors.QueryCanceled:
        return question, None
    if found.is_wrong and asked.corrected:
        asked = replace(asked, text=found.corrected, typed=found.typed)
        question = replace(question, search=asked)
    return question, found


def prepared(connection: Connection, question: Question) -> Question:
    """With the model, the visitor, and the numbers of all that must not be in the list."""
    model = models.live(connection, question.site_id)
    with tracing.span("profile"):
        who = visitor(connection, question)
        others = _others(connection, question, model, who)
    left_out = excluded(connection, question)
    if question.strategy in WITHOUT_TOUCHED:
        left_out = left_out.union(_had(connection, question, who))
    question = replace(question, model=model, visitor=who, excluded=left_out)
    if others is not None:
        return replace(question, visitor=replace(who, vector=others), by_cohort=True)
    if question.strategy in learned.STRATEGIES and who.taste is not None:
        return replace(question, learned=who.learned)
    return question


def _others(
    connection: Connection, question: Question, model: Model, visitor: Profile
) -> Vector | None:
    """What people like that are like the visitor, of whom nothing is known."""
    if not question.cohort or visitor.vector is not None or question.strategy not in PERSONAL:
        return None
    return cohort.vector(connection, model, question.cohort, question.at)


def excluded(connection: Connection, question: Question) -> frozenset[int]:
    """The numbers of the products that the question itself leaves out."""
    found = records.numbers(connection, question.site_id, question.exclude)
    return question.before.product_nos.union(one.product_no for one in found)


def visitor(connection: Connection, question: Question) -> Profile:
    """Who asks, as of now; NOBODY where that is nobody, or does not matter."""
    nobody = question.actor is None and not question.additional
    if nobody or (question.strategy in WITHOUT_PROFILE and not question.explain):
        return NOBODY
    return profile.current(
        connection,
        question.site_id,
        question.actor,
        at=question.at,
        additional=question.additional,
        alone=question.alone,
    )


def _had(connection: Connection, question: Question, visitor: Profile) -> Collection[int]:
    """What the visitor touched or bought; where one stands for its group, in any size or colour."""
    had = {*visitor.contents.touched, *_bought(question, visitor)}
    if not question.one_per_group:
        return had
    return records.with_variants(connection, question.site_id, had)


def _bought(question: Question, visitor: Profile) -> list[int]:
    since = question.at - timedelta(days=question.bought_days)
    return [product_no for product_no, at in visitor.contents.bought if at > since]

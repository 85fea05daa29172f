"""What is asked of the ranking, and what a strategy proposes: the types all of them share."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import psycopg
from psycopg import sql

from ranking.catalog.learned_models import Learned
from ranking.catalog.models import Model
from ranking.catalog.records import int_array
from ranking.merchandising import filters
from ranking.merchandising.exploration import NOT_EXPLORING, Exploring
from ranking.merchandising.facets import NO_FACETS, Facets
from ranking.merchandising.filters import Expression, Filter
from ranking.merchandising.order import Order
from ranking.merchandising.rules import NO_RULES, Rules
from ranking.visitors.cohort import Cohort
from ranking.visitors.profile import NOBODY, Profile
from schemas.errors import AttuneError
from schemas.facts import Event

BOUGHT_DAYS = 90
# Logits by which products without a history are lifted: one is 2.7 times their odds. What that
# costs, and what others would, is told by the record of each learned version.
NEW_LIFT = 1.0


class UnknownProducts(AttuneError):
    """None of the products a list should be about is in the catalog."""


class Candidate(NamedTuple):
    """One proposed product; its score is the sum of its named parts. What is not `relevant` no
    rule lifts; `boosts` are the names of the rules that lifted it, `source` is which list a mixed
    one has it from. `put` says what it owes its place to beside its rank: "boosted", "pinned",
    "anchored" (or that something is anchored to it), "explored"; `chance` is the probability with
    which it stands there."""

    product_no: int
    product_id: str
    group_key: int
    parts: dict[str, float]
    relevant: bool = True
    boosts: tuple[str, ...] = ()
    source: str = ""
    put: str = ""
    chance: float = 1.0

    @property
    def score(self) -> float:
        return sum(self.parts.values())


class Proposed(list[Candidate]):
    """Candidates of a strategy that knows how many there are in all: products, or groups where one
    stands for all; None where counting took too long. `others` are a search's that are listed
    apart; `search` is what a part of its products is to be found by; `by_score` is their order
    before they were made to vary, where they were."""

    def __init__(self, candidates: Iterable[Candidate], total: int | None) -> None:
        super().__init__(candidates)
        self.total = total
        self.others: list[Candidate] = []
        self.search: Search | None = None
        self.by_score: Sequence[Candidate] | None = None
        self.unexplored: Sequence[Candidate] | None = None

    def reordered(self, candidates: Iterable[Candidate]) -> Proposed:
        """The same in another order, which remembers that by score."""
        made = Proposed(candidates, self.total)
        made.others, made.search, made.by_score = self.others, self.search, self
        return made


@dataclass(frozen=True, slots=True)
class Search:
    """What a search looks for.

    The `text` as it was typed, its misspelt words `corrected` or not (for each that was, folded,
    what was `typed`), whose words must occur, but not in the fields `without`; `advanced`, a
    condition that may ask for texts; products `like` a text come first, those in a `language`
    (empty: no matter) before all others; those to `include` are found whatever the text is.
    `semantic`: how near in meaning may stand in for words (None: nothing may). `partial`: some of
    the words may do, where `most_exact` products or fewer have all (None: any number); `separated`:
    what has not all words is listed apart. `personal`: what the visitor counts, from 0 to 1.
    Of products: which of `whether` are found, what of the text is where (`matched`), and the fields
    to `highlight` it in.
    """

    text: str = ""
    language: str = ""
    semantic: float | None = None
    personal: float = 1.0
    like: str = ""
    without: frozenset[str] = frozenset()
    include: Sequence[str] = ()
    partial: bool = False
    most_exact: int | None = None
    separated: bool = False
    advanced: Expression | None = None
    corrected: bool = True
    typed: tuple[tuple[str, str], ...] = ()
    whether: Sequence[str] = ()
    matched: bool = False
    highlight: Sequence[str] = ()

    @property
    def completes(self) -> bool:
        """Whether something may stand in for words."""
        return self.partial or self.semantic is not None


@dataclass(frozen=True, slots=True)
class Before:
    """What was given of a list before this part of it: how many, which, the products that may not
    come again, and the groups that one of them stands for."""

    count: int = 0
    given: tuple[int, ...] = ()
    product_nos: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Question:
    """One request for a list of `rows` products.

    What is asked: for whom (`actor`, with all its visitor's ids or `alone`), which strategy, which
    products may be in it (`filter`, `exclude` ids), about which (`anchors`, `anchor_groups`:
    similar only), by which `rules` they are put in order, one variant a group or all, with which
    record fields. `additional` events
    count as if they had happened. Where nothing is known of the visitor the list is what people of
    that `cohort` like. `at` is now to everything; products bought within `bought_days`
    before it are not recommended, those without a history are lifted by `new_lift` logits.
    `search`, `facets` (what they narrow it by is part of `filter` too) and `order` are for a search
    only; the list begins after `start` products. With a `pagination_id` what was given under it
    before is not given again. `exploring` leaves some of its places to chance, for products without
    a history.
    Until `until` (of time.monotonic) further parts of the answer may be begun.

    The rest `answer` fills in for the strategies, `limit` among it: how many to propose; `among`
    which products alone.
    """

    site_id: int
    strategy: str
    at: datetime
    actor: UUID | None = None
    alone: bool = False
    rows: int = 5
    filter: Expression = field(default_factory=filters.everything)
    exclude: Sequence[str] = ()
    anchors: Sequence[str] = ()
    anchor_groups: Sequence[str] = ()
    rules: Rules = NO_RULES
    exploring: Exploring = NOT_EXPLORING
    search: Search = Search()
    facets: Facets = NO_FACETS
    order: Order = ()
    start: int = 0
    pagination_id: str = ""
    one_per_group: bool = True
    fields: Sequence[str] = ()
    additional: Sequence[Event] = ()
    cohort: Cohort = ()
    explain: bool = False
    bought_days: int = BOUGHT_DAYS
    new_lift: float = NEW_LIFT
    endpoint: str = ""
    # by answer
    model: Model | None = None
    learned: Learned | None = None
    visitor: Profile = NOBODY
    by_cohort: bool = False
    excluded: frozenset[int] = frozenset()
    limit: int = 0
    among: tuple[int, ...] | None = None
    until: float = math.inf
    before: Before = Before()

    @property
    def live_model(self) -> Model:
        """The model that answers; strategies are only asked once it is known."""
        assert self.model is not None, "answer() fills in the model before it asks a strategy"
        return self.model

    def check_time(self) -> None:
        """Raise QueryCanceled, as a statement that took too long does, where all of them did."""
        if time.monotonic() > self.until:
            raise psycopg.errors.QueryCanceled("the request takes too long")

    def where(self, alias: str) -> Filter:
        """The filter as a condition on that table: "v" vectors, "p" products."""
        found = filters.compile(self.filter, alias)
        if self.among is None:
            return found
        where = _AMONG.format(sql.Identifier(alias), found.where)
        return replace(found, where=where, params=found.params | {"among": int_array(self.among)})


_AMONG = sql.SQL("({}.product_no = any(%(among)s::int[]) and {})")

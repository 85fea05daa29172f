"""Random filters over random products: what Postgres finds is what this file's own, plain reading
of the grammar finds in the records.
"""

import json
import re
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranking.merchandising import filters
from tests.ranking.merchandising.filter_tables import matching, store

TEXTS = [
    "a", "A", "b c", "10", "10.0", "1e1", "-3", "true", "True", "2024-05-01",
    "2024-05-01T10:00:00Z", 'q"uote', "back\\slash", "'; --", "%s", "{x}", "*",
    "a*", "", "OR", "AND", "NOT", "to",
    "ü-ö/.x:1",
]  # fmt: skip
NUMBERS = [0, 1, 10, 10.0, -3, 0.1, -0.0, 2**60, 2**60 + 1, 1e21, 1e-7, 1.5e300]
DATES = [
    "2024-04-30", "2024-05-01", "2024-05-01T00:00:00Z", "2024-05-01T10:00:00Z", "2024-05-01T10:00",
    "2024-05-01T23:59:59.999999Z", "2024-05-02T01:00:00+02:00", "2024-05-02", "9999-12-31",
]  # fmt: skip

text = st.sampled_from(TEXTS)
number = st.sampled_from(NUMBERS)
date = st.sampled_from(DATES)
scalar = text | number | st.booleans() | date
attribute = st.recursive(
    scalar | st.lists(scalar, max_size=3),
    lambda inner: (
        st.dictionaries(st.sampled_from(["x", "y", "x.y"]), inner, max_size=2)
        | st.lists(st.dictionaries(st.sampled_from(["x", "y"]), inner, max_size=2), max_size=2)
    ),
    max_leaves=4,
)
record = st.fixed_dictionaries(
    {},
    optional={
        "brand": text | st.none(),
        "size": text,
        "tags": st.lists(text, max_size=3),
        "categories": st.lists(st.lists(text, max_size=3), max_size=2),
        "condition": st.sampled_from(["NEW", "USED"]),
        "availability": st.sampled_from(["IN_STOCK", "OUT_OF_STOCK"]),
        "enable_question_answering": st.booleans(),
        "original_price": number,
        "sale_price": number | st.none(),
        "rating": number,
        "margin": number,
        "created_at": date,
        "published_at": date,
        "description": text,
        "custom_attributes": st.dictionaries(
            st.sampled_from(["x", "y", "x.y", "é-1"]), attribute, max_size=3
        ),
    },
)

TERM_FIELDS = ["brand", "size", "tags", "categories", "condition", "availability"]
TERM_FIELDS += ["enable_question_answering"]
NUMBER_FIELDS = ["original_price", "sale_price", "rating", "margin"]
DATE_FIELDS = ["created_at", "published_at"]
CUSTOM_FIELDS = ["custom_attributes.x", "attributes.x.y", "attributes.é-1", "attributes.nowhere"]
CUSTOM_FIELDS += ["attributes.y.x"]

# A condition is (its text, what it says of a record).


def equal(field, written):
    return f"{field}:{written}", lambda record: any(
        is_equal(field, written, value) for value in values(record, field)
    )


def is_equal(field, written, value):
    read, quoted = unquoted(written), written.startswith('"')
    if field in DATE_FIELDS:
        return first(read) <= first(value) < after(read)
    if field in NUMBER_FIELDS:
        return value == stored(field, json.loads(read))
    if isinstance(value, str):
        return value == read
    return not quoted and spelled(read) == (type(value) is bool, value)


def spelled(word):
    """(is a boolean, value) of a bare word that is one of JSON's."""
    try:
        found = json.loads(word)
    except ValueError:
        return None
    return (type(found) is bool, found) if isinstance(found, (bool, int, float)) else None


def present(field):
    return f"{field}:*", lambda record: bool(below(record, field))


def between(field, opening, lower, upper, closing, to):
    def holds(record):
        found = values(record, field)
        if lower == upper == "*":
            return bool(below(record, field))
        return any(
            comparable(value, lower, upper)
            and (lower == "*" or at_least(field, value, unquoted(lower), opening == "["))
            and (upper == "*" or at_most(field, value, unquoted(upper), closing == "]"))
            for value in found
        )

    return f"{field}:{opening}{lower} {to} {upper}{closing}", holds


def comparable(value, lower, upper):
    """Bounds are both numbers or both dates."""
    bound = unquoted(upper if lower == "*" else lower)
    if is_date(bound):
        return isinstance(value, str) and is_date(value)
    return type(value) in (int, float)


def at_least(field, value, bound, inclusive):
    if is_date(bound):
        return first(value) >= (first(bound) if inclusive else after(bound))
    number = stored(field, json.loads(bound))
    return value >= number if inclusive else value > number


def at_most(field, value, bound, inclusive):
    if is_date(bound):
        return first(value) < (after(bound) if inclusive else first(bound))
    number = stored(field, json.loads(bound))
    return value <= number if inclusive else value < number


def stored(field, number):
    """Prices and ratings are doubles, other numbers exact."""
    return float(number) if field in ("original_price", "sale_price", "rating") else number


def is_date(text):
    return re.match(r"\d{4}-\d\d-\d\d", text) is not None


def first(text):
    """Microseconds; Python's last day has no day after it."""
    at = datetime.fromisoformat(text)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def after(text):
    return first(text) + (86_400_000_000 if len(text) == 10 else 1)


def unquoted(written):
    return re.sub(r'\\(["\\])', r"\1", written[1:-1]) if written.startswith('"') else written


def with_defaults(record):
    given = {field: value for field, value in record.items() if value is not None}
    return {"condition": "NEW", "availability": "IN_STOCK", **given}


def below(record, field):
    """(dotted rest of the name, value) of all that stands at a field or deeper."""
    wanted = re.sub(r"^attributes\b", "custom_attributes", field)
    everything = list(flat("", with_defaults(record)))
    return [
        (name, value)
        for name, value in everything
        if name == wanted or name.startswith(f"{wanted}.")
    ]


def values(record, field):
    wanted = re.sub(r"^attributes\b", "custom_attributes", field)
    return [stored(field, value) for name, value in below(record, field) if name == wanted]


def flat(name, value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(f"{name}.{key}" if name else key, inner)
    elif isinstance(value, list):
        for element in value:
            yield from flat(name, element)
    else:
        yield name, value


def quote(text):
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


bare_word = st.sampled_from(
    [text for text in [*TEXTS, *DATES] if re.fullmatch(r'[^\s()"*{}]+', text)]
)
written_number = number.map(json.dumps)
written_date = date.flatmap(lambda text: st.sampled_from([text, quote(text)]))
written = (text | date).map(quote) | bare_word | written_number | st.sampled_from(["true", "false"])


def ends(values):
    """Both ends of one range."""
    end = values | st.just("*")
    return st.tuples(
        st.sampled_from("[{"), end, end, st.sampled_from("]}"), st.sampled_from(["TO", "to"])
    )


def ranges(fields, ends):
    return st.builds(lambda field, given: between(field, *given), st.sampled_from(fields), ends)


clause = st.one_of(
    st.builds(equal, st.sampled_from(TERM_FIELDS + CUSTOM_FIELDS), written),
    st.builds(equal, st.sampled_from(NUMBER_FIELDS), written_number),
    st.builds(equal, st.sampled_from(DATE_FIELDS), written_date),
    st.builds(
        present,
        st.sampled_from(
            [
                *TERM_FIELDS,
                *NUMBER_FIELDS,
                *DATE_FIELDS,
                *CUSTOM_FIELDS,
                "description",
                "attributes",
            ]
        ),
    ),
    ranges(NUMBER_FIELDS + CUSTOM_FIELDS, ends(written_number)),
    ranges(DATE_FIELDS + CUSTOM_FIELDS, ends(written_date)),
)


def grouped(field, rows):
    """field:(a AND b OR c …): rows of ANDs, joined by OR."""
    inner = " OR ".join(" AND ".join(row) for row in rows)
    return f"{field}:({inner})", lambda record: any(
        all(equal(field, one)[1](record) for one in row) for row in rows
    )


group = st.builds(
    grouped,
    st.sampled_from(TERM_FIELDS + CUSTOM_FIELDS),
    st.lists(st.lists(written, min_size=1, max_size=2), min_size=1, max_size=3),
)


def joined(rows):
    """a AND b OR c …, without brackets around the ANDs."""
    text = " OR ".join(" AND ".join(one[0] for one in row) for row in rows)
    return f"({text})", lambda record: any(all(one[1](record) for one in row) for row in rows)


def negated(one):
    return f"NOT {one[0]}", lambda record: not one[1](record)


condition = st.recursive(
    clause | group,
    lambda inner: (
        inner.map(negated)
        | st.lists(st.lists(inner, min_size=1, max_size=2), min_size=1, max_size=3).map(joined)
    ),
    max_leaves=6,
)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    records=st.lists(record, min_size=1, max_size=6),
    conditions=st.lists(condition, min_size=1, max_size=8),
)
def test_postgres_finds_what_the_records_say(connection, records, conditions):
    records = [{**one, "product_id": f"p{number}"} for number, one in enumerate(records)]
    store(connection, records)
    for fq, holds in conditions:
        expected = {one["product_id"] for one in records if holds(one)}
        assert matching(connection, filters.parse(fq)) == (expected, expected), fq

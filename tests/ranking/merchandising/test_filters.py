"""Miso's filter grammar on real Postgres, on products and beside the vectors."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranking.merchandising import filters
from ranking.merchandising.filters import FilterError
from tests.ranking.merchandising.filter_tables import matching, store

CATALOG = [
    {
        "product_id": "air",
        "product_group_id": "shoes",
        "type": "product",
        "title": "Nike Air",
        "brand": "Nike",
        "categories": [["Sport", "Shoes", "Running"], ["Sale"]],
        "tags": ["new", "größe-42", "a/b.c"],
        "size": "10",
        "sale_price": 80,
        "original_price": 100.5,
        "rating": 4.5,
        "published_at": "2024-05-01T10:00:00+02:00",
        "custom_attributes": {
            "year": 2020,
            "sole": {"material": "rubber"},
            "vegan": True,
            "widths": [1.5, 2],
            "parts": [{"name": "lace"}, {"name": "heel"}],
            "released": "2024-02-29",
        },
    },
    {
        "product_id": "balance",
        "title": 'Say "hi" \\ C:\\temp',
        "brand": "New Balance",
        "categories": [["Sport", "Balls"]],
        "tags": [],
        "availability": "OUT_OF_STOCK",
        "condition": "USED",
        "sale_price": 20.0,
        "margin": 0.25,
        "published_at": "2024-05-02",
        "custom_attributes": {"year": "2020", "sole": {}, "vegan": False, "state": "OR"},
    },
    {
        "product_id": "bare",
        "product_group_id": "shoes",
        "availability": "PRE_ORDER",
        "brand": "10",
        "enable_question_answering": True,
        "custom_attributes": {"year": 10, "a.b": {"c.d": "dotted"}, "vegan": "true"},
    },
]

EXAMPLES = {
    # clauses
    'brand:"Nike"': "air",
    "brand:Nike": "air",
    "brand: Nike": "air",
    'brand : "New Balance"': "balance",
    "brand:nike": "",
    "tags:größe-42": "air",
    "tags:a/b.c": "air",
    r'title:"Say \"hi\" \\ C:\temp"': "balance",
    "categories:Shoes": "air",
    "categories:Sport": "air balance",
    "type:product": "air",
    "product_group_id:balance": "balance",
    "product_group_id:shoes": "air bare",
    "condition:NEW": "air bare",
    "availability:(IN_STOCK OR PRE_ORDER)": "air bare",
    "enable_question_answering:true": "bare",
    # text, numbers and booleans
    "size:10": "air",
    'size:"10"': "air",
    "size:10.0": "",
    "custom_attributes.year:2020": "air balance",
    'custom_attributes.year:"2020"': "balance",
    "custom_attributes.year:2020.0": "air",
    "custom_attributes.year:1e1": "bare",
    "custom_attributes.vegan:true": "air bare",
    "attributes.vegan:false": "balance",
    'attributes.vegan:"true"': "bare",
    "sale_price:80": "air",
    'sale_price:"20"': "balance",
    "margin:0.25": "balance",
    # custom attributes
    "attributes.sole.material:rubber": "air",
    "attributes.parts.name:heel": "air",
    "attributes.widths:2": "air",
    "attributes.a.b.c.d:dotted": "bare",
    "attributes.state:OR": "balance",
    "attributes.no_such_thing:1": "",
    "NOT attributes.no_such_thing:1": "air balance bare",
    # presence
    "brand:*": "air balance bare",
    "tags:*": "air",
    "attributes.sole:*": "air",
    "attributes.a:*": "bare",
    "attributes:*": "air balance bare",
    "rating:[* TO *]": "air",
    "availability:*": "air balance bare",
    # ranges
    "sale_price:[20 TO 80]": "air balance",
    "sale_price:{20 TO 80]": "air",
    "sale_price:[20 to 80}": "balance",
    "sale_price:{20 TO 80}": "",
    "sale_price:[* TO 20.0]": "balance",
    "rating:[4 TO *]": "air",
    "NOT rating:[4 TO *]": "balance bare",
    "margin:[-1 TO 1e0]": "balance",
    "attributes.year:[0 TO 3000]": "air bare",
    "attributes.widths:{1.5 TO 2]": "air",
    "attributes.released:[2024-02-29 TO 2024-02-29]": "air",
    "published_at:2024-05-01": "air",
    "published_at:[2024-05-01 TO 2024-05-01]": "air",
    "published_at:{2024-05-01 TO *]": "balance",
    "published_at:[* TO 2024-05-01}": "",
    "published_at:[2024-05-01T08:00:00Z TO 2024-05-01T10:00:00+02:00]": "air",
    'published_at:["2024-05-01 07:00" TO "2024-05-01T08:00:00"}': "",
    # combinations
    "brand:(Nike OR 10)": "air bare",
    "brand:(Nike OR 10 AND Nike)": "air",
    "categories:(Sport AND Balls)": "balance",
    "categories:(Sport AND (Balls OR Running))": "air balance",
    "sale_price:([0 TO 30] OR 80)": "air balance",
    "brand:Nike OR brand:10 AND size:10": "air",
    "(brand:Nike OR brand:10) AND attributes.year:10": "bare",
    "NOT brand:Nike": "balance bare",
    "NOT (brand:Nike OR brand:10)": "balance",
    "NOT NOT brand:Nike": "air",
    "brand:Nike AND NOT size:10 OR NOT brand:*": "",
    "\n brand:Nike\tAND\n\nsize:10 ": "air",
    "": "air balance bare",
    "  ": "air balance bare",
}

ERRORS = {
    "brand": (5, 'expected ":"'),
    "brand:": (6, "expected a value"),
    "brand:New Balance": (10, "needs quotes"),
    'brand:"Nike': (6, "never closed"),
    "brand:Nike and size:10": (11, "capitals"),
    "brand:Nike AND": (14, "expected a field"),
    "(brand:Nike": (11, 'expected ")"'),
    "brand:Nike)": (10, "expected the end"),
    "brand:()": (7, "expected a value"),
    "brand:(a b)": (9, 'expected AND, OR or ")"'),
    "brand:Nik*": (6, "whole value"),
    "sale_price:[1 2]": (14, "expected TO"),
    "sale_price:[1 TO 2": (18, 'expected "]" or "}"'),
    "sale_price:[1 TO dear]": (17, "needs a number"),
    "sale_price:1e400": (11, "needs a number"),
    "size:10 AND published_at:[2024 TO *]": (26, "needs a date"),
    "published_at:2024-02-30": (13, "needs a date"),
    "brand:[1 TO 2]": (0, "brand holds text"),
    "description:blue": (0, "description:*"),
    "custom_attributes:blue": (0, "name the attribute"),
    "size:10 OR colour:blue": (11, '"colour"'),
    "brand.name:Nike": (0, '"brand.name"'),
    "custom_attributes.:1": (0, '"custom_attributes."'),
    "(" * 51: (50, "deeper than 50"),
    "brand:" + "x" * 10_000: (10_000, "longer than 10,000"),
    "margin:(" + " OR ".join(map(str, range(51))) + ")": (0, "more than 50 ranges"),
}


@pytest.fixture
def catalog(connection):
    store(connection, CATALOG)
    return connection


@pytest.mark.parametrize("fq", EXAMPLES)
def test_a_filter_finds_the_same_products_in_both_tables(catalog, fq):
    expected = set(EXAMPLES[fq].split())
    assert matching(catalog, filters.parse(fq)) == (expected, expected)


@pytest.mark.parametrize("fq", ERRORS)
def test_an_unusable_filter_says_where_and_why(fq):
    position, reason = ERRORS[fq]
    with pytest.raises(FilterError) as error:
        filters.parse(fq)
    assert error.value.position == position
    assert reason in str(error.value)


def test_a_text_and_a_number_never_share_a_term():
    assert filters.term("size", 10) == filters.term("size", 10.0)
    assert len({filters.term("size", value) for value in (1, "1", True, "true", "n1")}) == 5


def test_only_dates_and_rarer_numbers_look_into_products():
    assert not filters.compile(filters.parse("brand:a AND sale_price:[1 TO 2]"), "v").joins_products
    assert filters.compile(filters.parse("brand:a OR margin:1"), "v").joins_products
    assert not filters.compile(filters.parse("brand:a OR margin:1"), "p").joins_products


def test_callers_add_their_own_conditions(catalog):
    wanted = filters.all_of(
        [
            filters.parse("brand:*"),
            filters.available(),
            filters.negated(filters.equals("product_id", "air", "balance")),
        ]
    )
    assert matching(catalog, wanted) == ({"bare"}, {"bare"})
    assert matching(catalog, filters.any_of([])) == (set(), set())


def test_two_filters_share_one_statement(catalog):
    one = filters.compile(filters.parse("sale_price:[20 TO *] AND brand:Nike"), "p")
    other = filters.compile(filters.parse("sale_price:[20 TO *] AND size:10"), "p")
    assert len(one.params.keys() & other.params.keys()) == 1
    assert len(one.params | other.params) == 3


def test_a_product_without_anything_has_its_defaults():
    found = filters.columns({"product_id": "p"})
    assert found.available
    assert found.group_key == filters.term("product_group_id", "p")
    assert filters.term("condition", "NEW") in found.terms
    assert (found.original_price, found.sale_price, found.rating) == (None, None, None)


HOSTILE = [
    "'; drop table products; --",
    '" OR brand:* OR "',
    "%(x)s %s %% {0} {alias}",
    "back\\slash\\\\",
    "\\",
    '"',
    "a\nb\tc\r",
    "$.brand ? (@ == 1)",
    "🛒\u202e\u0000\ufeff",
    "\ud800",
    "é",
    "e\u0301",
    "x" * 9_000,
]


def test_hostile_texts_match_exactly_themselves(connection):
    store(connection, [{"product_id": f"{i}", "brand": text} for i, text in enumerate(HOSTILE)])
    for i, text in enumerate(HOSTILE):
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        assert matching(connection, filters.parse(f'brand:"{quoted}"')) == ({f"{i}"}, {f"{i}"})


@pytest.mark.parametrize("text", [*HOSTILE, "x" * 10_240, '"\\' * 4_999, "(" * 9_999])
def test_hostile_filters_are_read_or_refused(catalog, text):
    for fq in (text, f"brand:{text}", f"attributes.{text}:1", f"attributes.{text}:[1 TO 2]"):
        try:
            matching(catalog, filters.parse(fq))
        except FilterError as error:
            assert 0 <= error.position <= len(fq)
            assert str(error).encode()


PIECES = (
    *("brand", "sale_price", "published_at", "attributes.x", ":", ":", ":", "(", ")", "[", "]"),
    *("AND", "OR", "NOT", "TO", "to", "*", "1", "-2.5", "1e9", "2024-05-01", "2024-05-01T10:00Z"),
    *("{", "}", '"', "\\", '"a"', '"a\\"b"', "é", ",", "\0", "\ud800", " ", " ", " "),
)
ANY_TEXT = st.text() | st.lists(st.sampled_from(PIECES), max_size=25).map("".join)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(fq=ANY_TEXT)
def test_any_text_is_read_or_refused(catalog, fq):
    try:
        expression = filters.parse(fq)
    except FilterError as error:
        assert 0 <= error.position <= len(fq)
        assert str(error).encode()
    else:
        matching(catalog, expression)

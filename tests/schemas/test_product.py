"""A partial record merged into a whole one: JSON Merge Patch, one level into custom attributes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.product import merged

values = st.one_of(
    st.integers(0, 3), st.text("ab", max_size=2), st.dictionaries(st.sampled_from("xy"), st.none())
)
attributes = st.dictionaries(st.sampled_from("abc"), st.none() | values, max_size=3)
fields = st.fixed_dictionaries(
    {},
    optional={
        "title": st.none() | values,
        "location": st.none() | values,
        "custom_attributes": st.none() | attributes,
    },
)


def oracle(target: Any, patch: Any, depth: int) -> Any:
    """RFC 7396, section 2; deeper than `depth` a value replaces."""
    if not isinstance(patch, dict) or depth == 0:
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            inner = depth - 1 if name == "custom_attributes" else 0
            result[name] = oracle(result.get(name), value, inner)
    return result


@given(patches=st.lists(fields, max_size=6))
def test_patches_one_after_the_other_are_merge_patches(patches: list[dict[str, Any]]) -> None:
    record: dict[str, Any] = {"product_id": "p1"}
    expected = record
    for patch in patches:
        record, expected = merged(record, patch), oracle(expected, patch, 2)
    assert record == expected


@given(patch=fields)
def test_the_same_patch_again_changes_nothing(patch: dict[str, Any]) -> None:
    once = merged({"product_id": "p1", "title": "Lamp"}, patch)
    assert merged(once, patch) == once

"""Segment's calls about people: identify, alias, group, and the request to be forgotten."""

from __future__ import annotations

from typing import Any

from connectors import values
from connectors.segment.message import Fact, Message, an_object
from schemas import Ignored, Malformed, present

# A trait's name without case, blanks, `_` and `-` → Miso's user field.
TRAITS = {
    "name": "name",
    "gender": "gender",
    "description": "description",
    "city": "city",
    "state": "state",
    "country": "country",
}
FIELDS = TRAITS | {"age": "age", "avatar": "profile_image", "createdat": "created_at"}
PLACED_TRAITS = frozenset(TRAITS) | {
    "id", "userid", "anonymousid", "firstname", "lastname", "age", "avatar", "createdat", "address",
}  # fmt: skip
# Ranking needs none of it, so it is not kept outside the raw delivery.
PERSONAL_TRAITS = frozenset(
    (
        "email", "emailaddress", "phone", "phonenumber", "mobile", "username", "website",
        "birthday", "dateofbirth", "street", "address1", "address2", "postalcode", "zip", "ip",
        "password",
    )
)  # fmt: skip


LONGEST_NAME = 256  # of a trait; a longer one is no name


def identify(message: Message) -> list[Fact]:
    """What is known of a user, and that the anonymous id beside is theirs."""
    facts = message.sightings()
    traits = message.part("traits")
    record, cleared = _user_record(traits), _cleared(traits)
    if message.user_id and (record or cleared):
        record = {"user_id": message.user_id} | record
        fact = {"fact": "user", "record": record, "as_of": message.at}
        facts.append(fact | ({"cleared": cleared} if cleared else {}))
    return facts or _nothing("It has neither traits of a user that we keep nor both ids.")


def alias(message: Message) -> list[Fact]:
    """Two ids of one person; after `identify` browsers send equal ones, which say nothing."""
    if message.user_id is None:
        raise Malformed("An alias call needs `userId`.", "/userId")
    facts = message.sightings()
    previous_id = present(message.record.get("previousId"))
    if previous_id and previous_id != message.user_id:
        merge = {"fact": "merge", "previous_id": previous_id, "user_id": message.user_id}
        facts.append(merge | {"occurred_at": message.at})
    return facts or _nothing("`previousId` is missing or equal to `userId`: nothing to join.")


def group(message: Message) -> list[Fact]:
    """An account and its traits say nothing about interest; both ids together do say who."""
    if values.text(message.record.get("groupId")) is None:
        raise Malformed("A group call needs `groupId`.", "/groupId")
    return message.sightings() or _nothing("Accounts are not kept, and it has not both ids.")


def delete(message: Message) -> list[Fact]:
    """A person asked to be forgotten (the classic Webhooks destination passes it on)."""
    return [{"fact": "erase", "at": message.at} | message.ids()]


def _nothing(reason: str) -> list[Fact]:
    raise Ignored(reason)


# traits -----------------------------------------------------------------------------------------


def _user_record(traits: dict[str, Any]) -> dict[str, Any]:
    """Traits as a user record without its id; empty where nothing is kept."""
    named = {_trait_key(key): value for key, value in traits.items()}
    flat = _by_trait_key(named.get("address")) | named
    record: dict[str, Any] = {field: values.text(flat.get(key)) for key, field in TRAITS.items()}
    record["name"] = record["name"] or _full_name(flat)
    record["age"] = _age(flat.get("age"))
    record["profile_image"] = values.web_address(flat.get("avatar"))
    record["created_at"] = values.instant(flat.get("createdat"))
    record["custom_attributes"] = _attributes(traits) or None
    return {key: value for key, value in record.items() if value is not None}


def _cleared(traits: dict[str, Any]) -> list[str]:
    """The fields of the record that a null takes away."""
    names = []
    for name in (name for name, value in traits.items() if value is None):
        key = _trait_key(name)
        if key in FIELDS:
            names.append(FIELDS[key])
        elif len(name) <= LONGEST_NAME and key not in PLACED_TRAITS | PERSONAL_TRAITS:
            names.append(f"custom_attributes.{name}")
    return names


def _by_trait_key(value: Any) -> dict[str, Any]:
    return {_trait_key(key): item for key, item in an_object(value).items()}


def _trait_key(name: str) -> str:
    """`firstName`, `first_name` and `FirstName` are one trait."""
    return name.replace("_", "").replace("-", "").replace(" ", "").lower()


def _full_name(traits: dict[str, Any]) -> str | None:
    names = (values.text(traits.get(key)) for key in ("firstname", "lastname"))
    return " ".join(filter(None, names)) or None


def _age(value: Any) -> int | None:
    age = values.number(value)
    return int(age) if age is not None and 0 < age < 150 else None


def _attributes(traits: dict[str, Any]) -> dict[str, Any]:
    """The customer's own traits, as far as Miso's attribute types reach."""
    return {
        name: value
        for name, value in traits.items()
        if (key := _trait_key(name)) not in PLACED_TRAITS
        and key not in PERSONAL_TRAITS
        and len(name) <= LONGEST_NAME
        and _is_attribute(value)
    }


def _is_attribute(value: Any) -> bool:
    if not isinstance(value, list):
        return value is not None
    kinds = {"number" if type(item) in (int, float) else type(item) for item in value}
    return len(kinds) == 1 and kinds <= {"number", str, dict}

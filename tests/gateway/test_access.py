"""Sites, sources and keys: who is let in, and what is never shown."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import timedelta

import pytest
from cryptography.fernet import Fernet

from gateway import access, sealing
from schemas.database import Connection
from tests.conftest import SECRET_KEY

NAME = "shop"


@pytest.fixture(autouse=True)
def _sealed_with_the_tests_key(connection: Connection) -> None:
    access.forget()
    sealing.unlock(SECRET_KEY)
    connection.execute("select 1")  # an open transaction makes those below savepoints


@pytest.fixture
def made(connection: Connection) -> dict[str, str]:
    return access.create_site(connection, NAME)


@pytest.fixture
def site(connection: Connection, made: dict[str, str]) -> access.Site:
    return access.site(connection, NAME)


def user_hash(key: str, message: str) -> str:
    return hmac.new(key.encode(), message.encode(), hashlib.sha256).hexdigest()


# sites -------------------------------------------------------------------------------------------


def test_a_new_site_has_two_keys_and_a_source_of_its_own(
    connection: Connection, made: dict[str, str], site: access.Site
) -> None:
    secret = access.key_for(connection, made["secret_key"])
    publishable = access.key_for(connection, made["publishable_key"])
    assert secret and secret.kind == "secret" and secret.site_id == site.site_id
    assert secret.secret == made["secret_key"]
    assert publishable and publishable.scopes == {"interactions:write", "engine:read"}
    assert access.api_source(connection, site.site_id).connector == "api"


def test_a_name_is_taken_once(connection: Connection, made: dict[str, str]) -> None:
    with pytest.raises(access.SiteExists, match="already"):
        access.create_site(connection, NAME)


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a/b", "ä", "a" * 101, "a\0"])
def test_a_site_needs_a_plain_name(connection: Connection, name: str) -> None:
    with pytest.raises(access.BadRequest):
        access.create_site(connection, name)


def test_an_unknown_site_names_those_there_are(
    connection: Connection, made: dict[str, str]
) -> None:
    with pytest.raises(access.UnknownSite, match="there are: shop"):
        access.site(connection, "shoop")


def test_two_sites_have_different_peppers(connection: Connection, site: access.Site) -> None:
    access.create_site(connection, "other")
    assert access.site(connection, "other").pepper != site.pepper


# keys --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "sk_", "sk_" + "0" * 40, "x\0y", "ключ", "\ud800"])
def test_an_unknown_key_is_nobodys(connection: Connection, text: str) -> None:
    assert access.key_for(connection, text) is None


def test_a_list_never_shows_a_secret_key_whole(
    connection: Connection, made: dict[str, str], site: access.Site
) -> None:
    shown = json.dumps(access.keys(connection, site), default=str)
    assert made["secret_key"] not in shown
    assert made["publishable_key"] in shown


def test_the_database_does_not_hold_a_secret_in_the_clear(
    connection: Connection, made: dict[str, str], site: access.Site
) -> None:
    access.create_source(connection, site, "segment", "a secret of Segment")
    for table in ("keys", "sources"):
        rows = connection.execute(f"select t::text from {table} t").fetchall()  # type: ignore[call-overload]
        stored = " ".join(row[0] for row in rows)
        assert made["secret_key"] not in stored
        assert made["secret_key"].encode().hex() not in stored
        assert b"a secret of Segment".hex() not in stored


def test_a_rotated_key_works_beside_the_new_one(
    connection: Connection, made: dict[str, str], site: access.Site
) -> None:
    fresh, _, expires_at = access.rotate_key(connection, site)
    assert expires_at is not None
    assert access.key_for(connection, fresh) is not None
    assert access.key_for(connection, made["secret_key"]) is not None


def test_a_rotated_key_ends_with_its_overlap(
    connection: Connection, made: dict[str, str], site: access.Site
) -> None:
    access.rotate_key(connection, site, overlap=timedelta(0))
    assert access.key_for(connection, made["secret_key"]) is None


def test_a_second_rotation_does_not_prolong_the_first(
    connection: Connection, made: dict[str, str], site: access.Site
) -> None:
    _, old, first = access.rotate_key(connection, site, overlap=timedelta(hours=1))
    _, _, second = access.rotate_key(connection, site, old, overlap=timedelta(hours=9))
    assert second == first


def test_rotation_keeps_kind_and_scopes(connection: Connection, site: access.Site) -> None:
    narrow = access.create_key(connection, site, "secret", ["admin:read"])
    number = access.keys(connection, site)[-1]["key_id"]
    fresh, _, _ = access.rotate_key(connection, site, number)
    found = access.key_for(connection, fresh)
    assert found and found.scopes == {"admin:read"}
    assert fresh != narrow


def test_a_revoked_key_is_refused_at_once_here(
    connection: Connection, made: dict[str, str], site: access.Site
) -> None:
    known = access.key_for(connection, made["secret_key"])
    assert known
    access.revoke_key(connection, site, known.key_id)
    assert access.key_for(connection, made["secret_key"]) is None


def test_a_key_of_another_site_cannot_be_revoked(
    connection: Connection, made: dict[str, str], site: access.Site
) -> None:
    access.create_site(connection, "other")
    other = access.site(connection, "other")
    mine = access.keys(connection, site)[0]["key_id"]
    with pytest.raises(access.UnknownKey):
        access.revoke_key(connection, other, mine)


def test_a_publishable_key_cannot_be_given_more(connection: Connection, site: access.Site) -> None:
    with pytest.raises(access.BadRequest, match="products:write"):
        access.create_key(connection, site, "publishable", ["products:write"])


# user_hash ---------------------------------------------------------------------------------------


def test_a_user_hash_is_checked_with_any_live_secret_key(
    connection: Connection, made: dict[str, str], site: access.Site
) -> None:
    fresh, _, _ = access.rotate_key(connection, site)
    for key in (made["secret_key"], fresh):
        given = user_hash(key, "u1")
        assert access.user_hash_matches(connection, site.site_id, "u1", given)
        assert access.user_hash_matches(connection, site.site_id, "u1", given.upper())


def test_a_user_hash_of_an_expired_key_is_refused(
    connection: Connection, made: dict[str, str], site: access.Site
) -> None:
    access.rotate_key(connection, site, overlap=timedelta(0))
    given = user_hash(made["secret_key"], "u1")
    assert not access.user_hash_matches(connection, site.site_id, "u1", given)


@pytest.mark.parametrize("given", [None, "", "0", "ß" * 64, "\ud800", "f" * 64])
def test_a_wrong_user_hash_is_refused(
    connection: Connection, site: access.Site, given: str | None
) -> None:
    assert not access.user_hash_matches(connection, site.site_id, "u1", given)


def test_a_user_hash_of_another_site_is_refused(connection: Connection, site: access.Site) -> None:
    other = access.create_site(connection, "other")
    given = user_hash(other["secret_key"], "u1")
    assert not access.user_hash_matches(connection, site.site_id, "u1", given)


# sources -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["", " ", "\t\n"])
def test_an_empty_secret_is_refused(connection: Connection, site: access.Site, secret: str) -> None:
    with pytest.raises(access.BadRequest, match="empty"):
        access.create_source(connection, site, "segment", secret)


def test_an_unknown_connector_names_those_there_are(
    connection: Connection, site: access.Site
) -> None:
    with pytest.raises(access.BadRequest, match="segment"):
        access.create_source(connection, site, "segmnt")


def test_a_source_is_found_by_its_public_id(connection: Connection, site: access.Site) -> None:
    made = access.create_source(connection, site, "segment", "s3cret")
    found = access.source_by_public_id(connection, made.source.public_id)
    assert found == made.source
    assert found.secrets == ["s3cret"]


def test_a_segment_source_has_a_write_key_that_may_only_collect(
    connection: Connection, site: access.Site
) -> None:
    made = access.create_source(connection, site, "segment")
    key = access.key_for(connection, made.write_key or "")
    assert key and key.scopes == {"collect"} and key.source_id == made.source.source_id


def test_a_source_accepts_its_old_secret_until_the_overlap_ends(
    connection: Connection, site: access.Site
) -> None:
    source = access.create_source(connection, site, "segment", "old").source
    access.rotate_source_secret(connection, source, "new")
    assert _secrets(connection, source) == ["new", "old"]
    access.rotate_source_secret(connection, source, "newer", timedelta(0))
    assert _secrets(connection, source) == ["newer"]


def test_an_archive_shares_what_counts_as_the_same_event(
    connection: Connection, site: access.Site
) -> None:
    live = access.create_source(connection, site, "segment").source
    archive = access.create_source(connection, site, "segment", archive_of=live).source
    assert archive.dedupe_scope == live.dedupe_scope == live.source_id


def test_another_sealing_key_says_what_to_do(connection: Connection, site: access.Site) -> None:
    source = access.create_source(connection, site, "segment").source
    access.forget()
    sealing.unlock(Fernet.generate_key().decode())
    with pytest.raises(sealing.CannotOpen, match="ATTUNE_SECRET_KEY"):
        access.source_by_public_id(connection, source.public_id)


def _secrets(connection: Connection, source: access.Source) -> list[str]:
    found = access.source_by_public_id(connection, source.public_id)
    assert found is not None
    return found.secrets


def test_what_was_asked_for_in_vain_costs_no_second_look_up(
    connection: Connection, site: access.Site
) -> None:
    """A flood of one wrong key, or at one wrong address, stays cheap."""
    assert access.key_for(connection, "sk_wrong") is None
    assert access.source_by_public_id(connection, "wrong") is None

    assert access.unknown_key("sk_wrong") and access.unknown_source("wrong")
    connection.execute("alter table keys rename to lost_keys")  # who asks Postgres now fails
    assert access.key_for(connection, "sk_wrong") is None
    assert access.source_by_public_id(connection, "wrong") is None


def test_a_key_works_the_moment_it_is_made_whatever_was_asked_for_before(
    connection: Connection, site: access.Site
) -> None:
    for number in range(access.REMEMBER_AT_MOST + 5):
        access.key_for(connection, f"sk_{number % 50}")
    made = access.create_key(connection, site, "secret")
    source = access.create_source(connection, site, "segment").source

    assert access.key_for(connection, made) is not None
    assert access.source_by_public_id(connection, source.public_id) is not None


def test_what_is_remembered_of_wrong_keys_has_a_bound() -> None:
    memory: access._Memory[str] = access._Memory()
    for number in range(access.REMEMBER_AT_MOST * 2 + 5):
        memory.get_or(f"sk_{number}", lambda: None)

    assert memory.missed("sk_20004") and not memory.missed("sk_0")
    assert len(memory._missed) <= access.REMEMBER_AT_MOST

"""What every connector's `authenticate` must refuse, and that it never raises."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import CONNECTORS
from tests.connectors.signing import SIGN, SIGNATURE

BODY = '{"type":"track","event":"Café 👜","userId":"u1"}'.encode()
SECRET = "a-secret"

# Of what is pulled nothing can be authentic.
PULLED = ("feed",)
every_connector = pytest.mark.parametrize("name", [name for name in CONNECTORS if name in SIGN])


def is_authentic(name: str, headers: dict[str, str], body: bytes = BODY, *secrets: str) -> bool:
    return bool(CONNECTORS[name].authenticate(headers, body, list(secrets or (SECRET,)), {}))


@every_connector
def test_what_is_signed_with_the_secret_is_authentic(name: str) -> None:
    assert is_authentic(name, SIGN[name](BODY, SECRET))


@every_connector
def test_headers_are_found_in_any_case(name: str) -> None:
    headers = {key.upper(): value for key, value in SIGN[name](BODY, SECRET).items()}
    assert is_authentic(name, headers)


@every_connector
def test_while_a_secret_is_replaced_both_are_good(name: str) -> None:
    assert is_authentic(name, SIGN[name](BODY, "old"), BODY, "new", "old")
    assert is_authentic(name, SIGN[name](BODY, "new"), BODY, "new", "old")


@every_connector
@pytest.mark.parametrize("other", ["another site's", "", " ", "A-SECRET", "a-secret "])
def test_another_secret_is_refused(name: str, other: str) -> None:
    assert not is_authentic(name, SIGN[name](BODY, other))


@every_connector
def test_an_unsigned_request_is_refused(name: str) -> None:
    assert not is_authentic(name, {"Content-Type": "application/json"})


@every_connector
@pytest.mark.parametrize("secrets", [[], [""], ["  "]])
def test_a_source_without_a_secret_accepts_nothing(name: str, secrets: list[str]) -> None:
    for signed_with in ("", "  ", SECRET):
        verdict = CONNECTORS[name].authenticate(SIGN[name](BODY, signed_with), BODY, secrets, {})
        assert not verdict


@every_connector
@pytest.mark.parametrize(
    "change",
    [
        lambda digest: digest[:-1],
        lambda digest: digest + "0",
        lambda digest: digest[:8],
        lambda digest: "",
        lambda digest: "é" * 40,
        lambda digest: "\udcff" + digest,
        lambda digest: digest.upper(),
        lambda digest: f"sha1={digest}",
        lambda digest: "0" * 40,
    ],
)
def test_an_odd_signature_is_refused_and_no_error(name: str, change: object) -> None:
    headers = SIGN[name](BODY, SECRET)
    headers[SIGNATURE[name]] = change(headers[SIGNATURE[name]])  # type: ignore[operator]
    assert not is_authentic(name, headers)


@every_connector
@given(position=st.integers(0, len(BODY) - 1), byte=st.integers(0, 255))
def test_a_changed_byte_is_noticed(name: str, position: int, byte: int) -> None:
    changed = BODY[:position] + bytes([byte]) + BODY[position + 1 :]
    assert is_authentic(name, SIGN[name](BODY, SECRET), changed) is (changed == BODY)


@every_connector
@given(body=st.binary(max_size=200), signature=st.text(max_size=60))
def test_no_body_and_no_signature_is_an_error(name: str, body: bytes, signature: str) -> None:
    assert not is_authentic(name, {SIGNATURE[name]: signature}, body)


@every_connector
def test_the_reason_of_a_refusal_is_a_sentence_without_the_secret(name: str) -> None:
    verdict = CONNECTORS[name].authenticate(SIGN[name](BODY, "x"), BODY, [SECRET], {})
    assert len(verdict.reason) > 20  # type: ignore[union-attr]
    assert SECRET not in verdict.reason  # type: ignore[union-attr]


def test_every_connector_is_signed_or_pulled() -> None:
    assert set(CONNECTORS) == set(SIGN) | set(PULLED)


@pytest.mark.parametrize("name", PULLED)
@pytest.mark.parametrize("sign", SIGN.values(), ids=SIGN)
def test_what_is_pulled_takes_nothing_whoever_signed_it(
    name: str, sign: Callable[[bytes, str], dict[str, str]]
) -> None:
    assert not is_authentic(name, {})
    assert not is_authentic(name, sign(BODY, SECRET))
    assert not is_authentic(name, {"Authorization": SECRET}, b"", "", SECRET)

"""WooCommerce's customers: who they are called and which place they are in, nothing to reach them.

https://woocommerce.github.io/woocommerce-rest-api-docs/#customer-properties
"""

from __future__ import annotations

from connectors import values
from connectors.wordpress import fields
from connectors.wordpress.fields import Fact, Record, Settings
from schemas import Ignored

# Everybody who can log in comes under these topics; those of other roles run the shop.
BUYERS = frozenset(("customer", "subscriber"))

# What a customer may have taken away: a delivery shows all of them, so an empty one is none.
EMPTIED = ("name", "city", "state", "country")


def customer(record: Record, settings: Settings) -> list[Fact]:
    """The customer as of their last change; what is empty was taken away.

    Raises Ignored for who works for the shop. Not read: e-mail, phone, street, company, user name,
    shipping, meta data, and the avatar, whose address is a hash of the e-mail.
    """
    user_id = fields.identifier(record)
    role = values.text(record.get("role"))
    if role not in BUYERS:
        raise Ignored(f"Users of the role {(role or 'none')[:40]!r} are not customers.")
    billing = record.get("billing")
    billing = billing if isinstance(billing, dict) else {}
    created_at = fields.instant(record, "date_created_gmt")
    modified_at = fields.instant(record, "date_modified_gmt")
    found = {
        "user_id": user_id,
        "name": _name(record) or _name(billing),
        "city": fields.words(billing.get("city")),
        "state": values.text(billing.get("state")),
        "country": values.text(billing.get("country")),
        "created_at": fields.written(created_at),
        "updated_at": fields.written(modified_at),
    }
    cleared = [name for name in EMPTIED if found[name] is None]
    fact = {"fact": "user", "record": fields.kept(found), "as_of": modified_at or created_at}
    return [fact | ({"cleared": cleared} if cleared else {})]


def deleted(user_id: str) -> list[Fact]:
    """The account is gone."""
    return fields.removed("user", user_id, None)


def _name(of: Record) -> str | None:
    names = (fields.words(of.get(key)) for key in ("first_name", "last_name"))
    return " ".join(filter(None, names)) or None

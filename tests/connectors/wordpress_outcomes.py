"""What each captured WooCommerce delivery must become, written from the reference's tables.

By the number that its file begins with: the kinds of facts and whom or what they are about;
`ignored` changes nothing, `ping` is answered before anything is read.
"""

from __future__ import annotations

OUTCOMES: dict[str, str] = {
    # WooCommerce 9.4.3
    "001": "ping",
    "002": "product 10",
    "003": "product 10",  # a sale price
    "004": "product 10",  # out of stock
    "005": "product 11",  # variable, without variations and without a price
    "006": "ignored",  # variations: their parent is ranked
    "007": "ignored",
    "008": "ignored",
    "009": "removed product 15",  # a draft
    "010": "product 15",  # published
    "011": "removed product 16",  # hidden
    "012": "removed product 16",  # ten updates that came as one
    # six products under one delivery id
    "013": "product 17",
    "014": "product 18",
    "015": "product 19",
    "016": "product 20",
    "017": "product 21",
    "018": "product 22",
    "019": "ignored",  # gone before it was told: an error object
    "020": "removed product 17",
    "021": "product 17",
    "022": "product 17",
    "023": "removed product 24",  # a blog post's id
    "024": "user 2",
    "025": "user 2",
    "026": "user 2",
    "027": "user 3",
    "028": "user 3",
    "029": "removed user 3",
    "030": "ignored",  # an editor
    "031": "ignored",  # a coupon
    "032": "product 10",
    "033": "placed 27",  # created, and completed by then
    "034": "placed 27",
    "035": "user 2",
    "036": "product 10",
    "037": "ignored",
    "038": "placed 27",
    "039": "product 10",
    "040": "placed 27, refunded 27",
    "041": "ignored",  # pending
    "042": "ignored",
    "043": "cancelled 29",
    "044": "cancelled 29",
    "045": "removed product 29",  # an order's id
    "046": "ignored",  # an action
    "047": "ignored",
    "048": "ignored",
    "049": "ignored",  # cash on delivery: not paid yet
    "050": "ignored",
    # WooCommerce 8.0.3
    "101": "product 12",
    "102": "ignored",
    "103": "product 17",
    "104": "removed product 19",
    "105": "user 2",
    "106": "user 2",
    "107": "user 3",
    "108": "user 3",
    "109": "placed 29",
    "110": "placed 29",
    "111": "user 2",
    "112": "product 12",
    "113": "ignored",
    "114": "cancelled 31",
    "115": "removed product 31",
    # an import that broke off
    "201": "removed product 10",
    "202": "removed product 11",
    "203": "removed product 12",
    "204": "removed product 13",
    # WooCommerce 11.0.1
    "301": "product 10",  # product.published
    "302": "product 10",
    "303": "product 10",
    "304": "ignored",
    "305": "ignored",
    "306": "product 15",
    "307": "product 15",
    "308": "ignored",
    "309": "ignored",
    "310": "removed product 17",
    "311": "product 17",
    "312": "product 17",
    "313": "product 17",
    "314": "removed product 24",
    "315": "placed 27",
    "316": "placed 27",
    "317": "user 2",
    "318": "product 10",
    "319": "ignored",
    "320": "product 10",
    "321": "placed 27, refunded 27",
    "322": "cancelled 29",
    "323": "removed product 29",
    "324": "ignored",
    "325": "ignored",
}

# After all of them, told to one source as if the shops were one: by the instants in the records
# and, of deletes, by those of their receipt.
PRODUCTS = ["10", "15", "17", "18", "20", "21", "22"]
USERS = ["2", "3"]

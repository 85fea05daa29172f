"""What each event of the shared Segment fixtures must become, written from the reference's table.

By file and position. A word is an event type or a kind of fact (products made from events are
left out, `order` stands behind its event); `ignored` and `refused` are the two ways to change
nothing.
"""

from __future__ import annotations

LIST = "category_page_view impression"

SEGMENT_DOCS = (
    # e-commerce spec, V2
    ["search", LIST, LIST, "custom", "custom", "click", "product_detail_page_view"]
    + ["add_to_cart", "remove_from_cart", "custom", "checkout_started"]
    + ["custom"] * 3  # checkout steps, payment info
    + ["custom order", "purchase", "refund order", "refund order", "custom"]
    + ["add_to_collection", "remove_from_collection", "add_to_cart"]
    + ["share", "share", "rate"]
    + ["custom"] * 10  # video playback
    + ["watch", "custom", "complete"]
    + ["custom"] * 3  # video ads
    # common spec: most examples come twice, short (often without any id) and whole
    + ["custom", "refused", "custom", "user", "ignored", "refused", "custom"]
    + ["refused", "custom", "refused", "sighting", "merge", "merge sighting"]
    # e-commerce spec, V1
    + ["category_page_view", "product_detail_page_view", "add_to_cart", "remove_from_cart"]
    + ["purchase"]
    + ["custom"] * 11  # B2B and mobile
    # HTTP API: a collector's batch, and one that opts out of all but three destinations
    + ["user", "custom", "ignored", "refused", "ignored"]
)

ACTION_DESTINATIONS = (
    ["category_page_view", "custom", "custom", "custom", "custom", "refund order", "custom"]
    + ["purchase", "add_to_cart", "add_to_cart", "click", "click"]
    + ["category_page_view", "category_page_view", LIST, LIST]
    + ["product_detail_page_view", "product_detail_page_view", "remove_from_cart"]
    + ["checkout_started", "checkout_started", "custom", "search"]
    # a refund that names neither an order nor a product; one that names products
    + ["add_to_collection", "add_to_collection", "custom", "refund", "remove_from_cart"]
    + ["custom"] * 5
)

RUDDER_TRANSFORMER = (
    ["custom"] * 5  # searches without a query
    + ["category_page_view", LIST, LIST, LIST, LIST]
    + ["custom"] * 4  # promotions; a click on nothing
    + ["click", "click", "product_detail_page_view"]
    + ["custom"] * 5  # no product; `id` alone on the top level
    + ["add_to_cart", "remove_from_cart", "remove_from_cart"]
    + ["refused"] + ["custom"] * 6  # no id; carts and checkout steps
    + ["refused", "purchase", "purchase", "purchase"]
    + ["refund", "refund order", "custom"]
    + ["refused", "add_to_collection", "rate", "rate"]
    + ["custom"] * 6  # names nobody lists, `purchase` among them
    + ["refused", "custom", "custom"]
    # identify: e-mail alone is not kept, `context.traits` is not `traits`
    + ["sighting", "ignored", "user", "ignored", "user", "user", "ignored", "ignored"]
    + ["custom"] * 11  # page, screen
    + ["ignored", "ignored", "merge", "refused", "merge sighting", "ignored"]
    + ["ignored", "refused", "ignored", "ignored", "refused"]
    + ["add_to_cart"] + ["custom"] * 3
    + ["user", "user", "custom", "custom"]
    + ["refused"] * 14  # no type, no id, no event name
    + ["custom", "category_page_view", "custom", "add_to_cart", LIST, "click", LIST]
    + ["custom", "add_to_cart", "custom", "custom", "add_to_cart", "custom", "purchase"]
    + ["custom", "custom"]
    + ["ignored"] * 3  # types nobody lists
)  # fmt: skip

# The page's alias example has no `userId`.
DOCS_WEBHOOKS = (
    "custom", "custom", "user", "custom", "refused", "ignored", "erase", "user sighting",
)  # fmt: skip
RECORDED_DELIVERIES = ("user", "custom")

# By type and name of the recorded calls; several where clients differ (browsers send both ids and,
# after `identify`, an alias of an id with itself).
CLIENT_EVENTS: dict[tuple[str, str | None], tuple[str, ...]] = {
    ("page", "Home"): ("custom",),
    ("screen", "Main"): ("custom",),
    ("screen", "Product"): ("product_detail_page_view",),
    ("track", "Products Searched"): ("search",),
    ("track", "Product List Viewed"): (LIST,),
    ("track", "Product List Filtered"): (LIST,),
    ("track", "Product Clicked"): ("click",),
    ("track", "Product Viewed"): ("product_detail_page_view",),
    ("track", "Product Added"): ("add_to_cart",),
    ("track", "Product Removed"): ("remove_from_cart",),
    ("track", "Product Added to Wishlist"): ("add_to_collection",),
    ("track", "Cart Viewed"): ("custom",),
    ("track", "Checkout Started"): ("checkout_started",),
    ("track", "Order Completed"): ("purchase",),
    ("track", "Order Refunded"): ("refund order",),
    ("track", "Promotion Viewed"): ("custom",),
    ("track", "Coupon Applied"): ("custom",),
    ("track", "Product Shared"): ("share",),
    ("track", "Product Reviewed"): ("rate",),
    ("track", "Video Content Started"): ("watch",),
    ("track", "Unboxing Watched"): ("custom",),
    ("track", "Signed Out Again"): ("custom",),
    ("identify", None): ("user sighting",),
    ("alias", None): ("sighting", "merge"),
    ("group", None): ("sighting", "ignored"),
}

EVENTS = {
    "segment-docs": SEGMENT_DOCS,
    "action-destinations": ACTION_DESTINATIONS,
    "rudder-transformer": RUDDER_TRANSFORMER,
}

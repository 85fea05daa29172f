"""What each of the shared Shopify fixtures must become, written from the reference's tables.

By file, in the order in which the facts are told. A word is an event's type, what is told of an
order, the name of a lifecycle, or a kind of fact (products made from events are left out);
`ignored` and `refused` are the two ways to change nothing.
"""

from __future__ import annotations

WEBHOOKS = {
    "app__scopes_update": "scopes_changed",
    "app__uninstalled": "uninstalled",
    "app_subscriptions__update": "ignored",
    "bulk_operations__finish": "ignored",
    # Carts without our private attribute join nothing.
    "carts__create": "ignored",
    "carts__create__devstore_empty_cart": "ignored",
    "carts__update": "ignored",
    "checkouts__create": "checkout_started same_device sighting",
    "checkouts__create__devstore_no_anonymous_id": "checkout_started same_device",
    "checkouts__create__devstore_note_attributes": "checkout_started same_device",
    "checkouts__delete": "ignored",
    "checkouts__update": "same_device sighting",
    "checkouts__update__devstore_note_attributes": "same_device sighting",
    "collection_publications__create": "ignored",
    "collections__create": "ignored",
    "collections__delete": "ignored",
    "collections__update": "ignored",
    "customers__create": "user",
    "customers__create__devstore": "user",
    "customers__data_request": "export",
    "customers__delete": "removed",
    "customers__disable": "user",
    "customers__enable": "user",
    "customers__merge": "ignored",  # its status is `failed`
    "customers__redact": "erase",
    "customers__update": "user",
    "fulfillments__update__devstore": "ignored",
    "inventory_items__create": "stock",
    "inventory_items__update": "stock",
    "inventory_levels__connect": "stock",
    "inventory_levels__disconnect": "stock",
    "inventory_levels__update": "stock",
    # The documented order is a test order (`test: true`).
    "orders__cancelled": "ignored",
    "orders__cancelled__include_fields_subset": "refused",  # it has no id
    "orders__create": "ignored",
    "orders__create__devstore_note_attributes": "placed same_device sighting",
    "orders__delete": "cancelled",
    "orders__edited": "ignored",
    "orders__fulfilled": "ignored",
    "orders__paid": "ignored",
    "orders__paid__devstore": "placed same_device sighting",
    "orders__partially_fulfilled__devstore": "ignored",
    "orders__updated": "ignored",
    "orders__updated__devstore": "placed same_device sighting",
    "product_listings__add": "ignored",
    "product_listings__remove": "ignored",
    "product_listings__update": "ignored",
    "product_publications__create": "ignored",
    "product_publications__delete": "ignored",
    "product_publications__update": "ignored",
    "products__create": "product product variants",
    "products__delete": "variants",
    "products__update": "product product variants",
    "products__update__include_fields_subset": (
        "product_patch product_patch product_patch product_patch variants"
    ),
    "refunds__create": "refunded",
    "shop__redact": "erase_all",
    "shop__update": "ignored",
    "variants__in_stock": "product_patch",
    "variants__out_of_stock": "product_patch",
}

PIXEL = {
    "_init_object": "refused",  # not an event
    "alert_displayed": "ignored",
    "cart_viewed": "same_device",  # the cart's token
    "checkout_address_info_submitted": "ignored",
    "checkout_completed": "same_device",  # its order's id is null: the webhook tells the order
    "checkout_contact_info_submitted": "ignored",
    "checkout_shipping_info_submitted": "ignored",
    "checkout_started": "checkout_started same_device",
    "clicked": "ignored",
    "collection_viewed": "category_page_view",
    "custom__attune_recommendation_clicked": "click",
    "form_submitted": "ignored",
    "page_viewed": "ignored",  # not the home page
    "payment_info_submitted": "ignored",
    "product_added_to_cart": "add_to_cart",
    "product_removed_from_cart": "remove_from_cart",
    "product_viewed": "product_detail_page_view",
    "search_submitted": "search",
    "ui_extension_errored": "ignored",
}

# Of both files: 60 products, all of them live, with 66 variants, 5 of which are sold out.
BULK = {"products": 60, "product": 66, "variants": 60, "OUT_OF_STOCK": 5, "IN_STOCK": 61}

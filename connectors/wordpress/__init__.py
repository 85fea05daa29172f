"""WordPress and WooCommerce: the webhooks of a shop, and what our plugin sends like them."""

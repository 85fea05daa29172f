"""What a shop's server does with Segment's library for Python: told as JSON in its argument."""

import json
import sys

from segment.analytics.client import Client

told = json.loads(sys.argv[1])
client = Client(
    told["key"],
    host=told["host"],
    gzip=told["gzip"],
    upload_size=told["flushAt"],
    on_error=lambda error, items: print(error, items, file=sys.stderr),
)
for product in told["products"]:
    client.track(
        anonymous_id=told["visitor"], event="Product Viewed", properties={"product_id": product}
    )
client.page(anonymous_id=told["visitor"], name="Home")
client.identify(user_id=told["user"], anonymous_id=told["visitor"], traits={"name": "Ann"})
client.flush()
client.join()

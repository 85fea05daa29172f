"""How a site's owner connects Segment: the clicks to make there, and a signed request to try.

`sources create SITE segment` prints both, and how to point Segment's client libraries here.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import datetime
from urllib.parse import urlsplit

# https://segment.com/docs/connections/destinations/catalog/actions-webhook/
CLICKS = """\
In Segment:
  1. Connections > Catalog > Destinations: choose "Webhooks (Actions)", then "Add destination".
  2. Choose the source that sends your events, give the destination a name, save.
  3. Settings > Shared Secret: {secret}
  4. Mappings > New Mapping > Send. Events: add a condition for each type you want
     (Track, Page, Screen, Identify, Alias, Group), joined by "Any".
  5. Webhook URL: {url}
     Method: POST. Data: leave "$event". Enable batching: yes.
  6. Save, enable the mapping, then switch the destination itself on.
The URL must be https with a valid certificate: Segment refuses others.

Or without Segment, its own client libraries send here directly, with the write key
{write_key}
  Node:    new Analytics({{ writeKey: '{write_key}', host: '{public_url}' }})
  Python:  analytics.write_key, analytics.host = '{write_key}', '{public_url}'
  Browser: AnalyticsBrowser.load(
             {{ writeKey: '{write_key}', cdnURL: '{public_url}' }},
             {{ integrations: {{ 'Segment.io': {{
               apiHost: '{api_host}', protocol: '{protocol}' }} }} }})
An event that comes both ways counts once."""


def hosts(public_url: str) -> dict[str, str]:
    """The gateway's address in the parts that the clicks name."""
    own = urlsplit(public_url)
    return {
        "public_url": public_url,
        "protocol": own.scheme,
        "api_host": f"{own.netloc}{own.path}/v1",
    }


def test_request(secret: str, at: datetime) -> tuple[dict[str, str], str]:
    """Headers and body of one signed event, such as Segment would send at that time.

    The body holds no single quote, so it can stand between two in a shell.
    """
    instant = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event = {
        "type": "track",
        "event": "Product Viewed",
        "messageId": f"attune-test-{int(at.timestamp() * 1000)}",
        "anonymousId": "attune-test",
        "timestamp": instant,
        "properties": {"product_id": "test-product"},
    }
    body = json.dumps(event)
    signature = hmac.new(secret.encode(), body.encode(), hashlib.sha1).hexdigest()
    return {"Content-Type": "application/json", "X-Signature": signature}, body

"""What a shop's server asks of Miso's library for Python: told as JSON in its argument."""

import json
import sys

from miso.sdk import ApiClient, ApiException

told = json.loads(sys.argv[1])
client = ApiClient(told["key"], host=told["host"], raise_on_error=True)
answers = []
for group, name, arguments in told["calls"]:
    try:
        answer = getattr(getattr(client, group), name)(**arguments)
        answers.append({"status": 200, "body": answer})
    except ApiException as error:
        answers.append({"status": error.status_code, "body": error.response})
names = {
    group: [name for name in vars(type(made)) if not name.startswith("_")]
    for group, made in vars(client).items()
    if not group.startswith("_")
}
print(json.dumps({"answers": answers, "names": names}))

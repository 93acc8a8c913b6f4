"""segment-analytics-python makes the calls it is given. Also analytics-python and rudder-sdk-python, of which it is kin."""

from __future__ import annotations

import importlib
import json
import sys
from datetime import datetime
from typing import Any

MODULES = {
    "segment": ("segment.analytics.client", "host"),
    "analytics": ("analytics.client", "host"),
    "rudder": ("rudderstack.analytics.client", "host"),
}


def main() -> None:
    given = json.loads(sys.stdin.read())
    module, host = MODULES[sys.argv[1]]
    when = datetime.fromisoformat(given["when"])
    errors: list[str] = []
    options: dict[str, Any] = {
        host: given["url"],
        "timeout": 1,
        "on_error": lambda error, batch: errors.append(str(error)),
    }
    client = importlib.import_module(module).Client(given["key"], **options)
    if given["refused"]:
        client.track("user-1", "Refused", timestamp=when)
        client.flush()
    for call in given["calls"]:
        make(client, call, when)
    client.flush()
    client.join()
    print(json.dumps(errors))


def make(client: Any, call: dict[str, Any], when: datetime) -> None:
    """One call, by the method that is meant for it."""
    user, properties = call.get("userId"), call.get("properties")
    match call["type"]:
        case "identify":
            client.identify(user, call["traits"], timestamp=when)
        case "track":
            client.track(user, call["event"], properties, timestamp=when, anonymous_id=call.get("anonymousId"))
        case "page":
            client.page(user, call["category"], call["name"], properties, timestamp=when)
        case "screen":
            client.screen(user, call.get("category"), call["name"], properties, timestamp=when)
        case "group":
            client.group(user, call["groupId"], call["traits"], timestamp=when)
        case "alias":
            client.alias(call["previousId"], user, timestamp=when)


if __name__ == "__main__":
    main()

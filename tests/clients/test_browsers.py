"""Clients in a real browser, unchanged, from a page of another origin: what they were told is what is stored."""

from __future__ import annotations

import json

import pytest

from cadenza.surfaces.collect_http import collect_app
from tests.clients.calls import LARGEST, Call, calls, stored_form
from tests.clients.proxy import Trouble, proxying
from tests.clients.runs import (
    MODULES,
    AheadClock,
    bodies,
    in_any_order,
    page,
    records,
    served,
    snippet_html,
    stored,
    until,
)
from tests.collect.asgi import KEY, Site, site

pytestmark = pytest.mark.xdist_group("browser")
ADDED = (
    "path",
    "url",
    "referrer",
    "referring_domain",
    "search",
    "title",
    "tab_url",
    "initial_referrer",
    "initial_referring_domain",
)
"""What browsers add to the properties of a page."""
SCRIPT = MODULES / "@segment" / "analytics-next" / "dist" / "umd" / "standalone.js"


@pytest.fixture
def opened(tmp_path):
    with site(tmp_path, clock=AheadClock()) as held:
        held.app = collect_app(held.collector, {KEY: "web"}, SCRIPT)
        yield held


def without_screen(given: list[Call]) -> list[Call]:
    """RudderStack's browser client has no screens."""
    return [call for call in given if call["type"] != "screen"]


def arrived(opened: Site, given: list[Call]) -> tuple[list[Call], list[Call]]:
    """What is stored, once there is enough, and what must be, both in one order. A browser has one anonymous id and names the
    person it was told of in every call."""
    until(lambda: len(bodies(opened)) >= len(given), f"{len(given)} calls")
    found = stored(opened, ADDED)
    assert len({call.pop("anonymousId") for call in found}) == 1
    due = [
        stored_form({name: value for name, value in call.items() if name != "anonymousId"}) | {"userId": "user-1"}
        for call in given
    ]
    return in_any_order(found), in_any_order(due)


def just_now(opened: Site) -> bool:
    """Whether calls are dated by the collector's clock; by the browser's they would be an hour older."""
    return all(record.recorded_at - json.loads(record.body)["occurred_at"] < 60_000_000 for record in records(opened))


def remembering(due: list[Call]) -> list[Call]:
    """RudderStack's browser client repeats the person's traits in every call."""
    traits = next(call["traits"] for call in due if call["type"] == "identify")
    # It also drops nulls inside of objects.
    return [json.loads(json.dumps(call | {"traits": traits}).replace('"none": null, ', "")) for call in due]


@pytest.mark.parametrize("batching", [False, True])
def test_segments_browser_client_delivers_its_eight_calls(opened, tmp_path, batching):
    with (
        served(opened) as url,
        page(tmp_path, "segment-next.html", url, calls(LARGEST), batching=batching) as wrong,
    ):
        found, due = arrived(opened, calls(LARGEST))
        assert wrong == []
    assert found == due
    assert just_now(opened)


def test_the_classic_snippet_delivers_its_eight_calls(opened, tmp_path):
    with (
        served(opened) as url,
        page(tmp_path, "snippet", url, calls(LARGEST), snippet=snippet_html(url)) as wrong,
    ):
        found, due = arrived(opened, calls(LARGEST))
        assert wrong == []
    assert found == due
    assert just_now(opened)


@pytest.mark.parametrize("beacon", [False, True])
def test_rudderstacks_browser_client_delivers_its_calls(opened, tmp_path, beacon):
    given = without_screen(calls(LARGEST))
    with served(opened) as url, page(tmp_path, "rudder.html", url, given, beacon=beacon) as wrong:
        found, due = arrived(opened, given)
        assert wrong == []
    assert found == in_any_order(remembering(due))
    assert just_now(opened)


def test_posthogs_browser_client_delivers_its_calls(opened, tmp_path):
    """It packs without saying so, and falls back to forms of base64; it has no screens and says alias by events."""
    given = [call for call in calls(LARGEST) if call["type"] not in ("screen", "alias")]
    with (
        served(opened) as address,
        proxying(address) as (url, proxy),
        page(tmp_path, "posthog.html", url, given) as wrong,
    ):
        until(lambda: len(bodies(opened)) >= len(given), "its calls")
        assert wrong == []
    found = [{name: value for name, value in call.items() if name != "anonymousId"} for call in stored(opened, ADDED)]
    due = [stored_form(call) | {"userId": "user-1"} for call in given]
    for call in due:
        call.pop("anonymousId", None)
        if call["type"] == "group":
            call |= {
                "groupId": "company:group-1",
                "properties": call["properties"] | {"type": "company", "key": "group-1"},
            }
    assert in_any_order(found) == in_any_order(due)
    packed = [request for request in proxy.seen if request.body[:2] == b"\x1f\x8b"]
    assert packed and not any("content-encoding" in request.headers for request in packed)
    assert just_now(opened)


REFUSED: Call = {"type": "track", "userId": "user-1", "event": "Refused", "properties": {}}
TROUBLES: tuple[Trouble, ...] = ("spoil", "429", "500", "cut", "503")
"""They send single calls: the first is refused for good, of the others four meet a limit, errors, a broken connection."""


@pytest.mark.parametrize("name", ["segment-next.html", "rudder.html"])
def test_browser_client_in_trouble_loses_and_doubles_nothing(opened, tmp_path, name):
    given = calls(LARGEST) if name == "segment-next.html" else without_screen(calls(LARGEST))
    with (
        served(opened) as address,
        proxying(address, TROUBLES) as (url, proxy),
        page(tmp_path, name, url, [REFUSED, *given]),
    ):
        found, due = arrived(opened, given)
        until(lambda: len(proxy.answered) >= len(given) + len(TROUBLES), "the last retry")
    assert proxy.met[: len(TROUBLES)] == list(TROUBLES)
    assert found == (due if name == "segment-next.html" else in_any_order(remembering(due)))
    assert opened.log.stored_counts().duplicate == 1
    assert [request.json.get("event") for request in proxy.seen].count("Refused") == 1
    assert opened.log.quarantine_counts() == {}

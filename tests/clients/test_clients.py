"""Real clients, unchanged, against the real server: what they were told is what is stored."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from tests.adapters.certificate import certificate
from tests.clients.calls import LARGEST, Call, calls
from tests.clients.proxy import Proxy, Trouble, proxying
from tests.clients.runs import (
    AheadClock,
    at_when,
    bodies,
    expected,
    in_any_order,
    node_client,
    older,
    python_client,
    served,
    stored,
)
from tests.collect.asgi import Site, site

BIG = 2**53 + 1
TROUBLES: tuple[Trouble, ...] = ("spoil", "429", "500", "hang")
"""The refused call is final; of the others the first request meets a limit, an error, and an answer that is lost."""


@pytest.fixture
def opened(tmp_path):
    with site(tmp_path, clock=AheadClock()) as held:
        yield held


@contextmanager
def troubled(
    opened: Site, troubles: tuple[Trouble, ...] = TROUBLES, tls: ssl.SSLContext | None = None
) -> Iterator[tuple[str, Proxy]]:
    """The address of the server behind a proxy."""
    with served(opened) as address, proxying(address, troubles, tls) as behind:
        yield behind


def nothing_odd(opened: Site) -> bool:
    """Nothing was set aside, and every record is accounted for."""
    counts = opened.log.stored_counts()
    assert opened.log.quarantine_counts() == {}
    return counts.received == counts.stored + counts.duplicate + counts.quarantined + counts.rejected


# --- the clients of Segment and RudderStack for Python --------------------------------------------------

SEGMENT_KIN = ["segment", "rudder", "analytics"]


def kin(name: str, url: str, *, refused: bool = False) -> list[str]:
    environment = {"PYTHONPATH": older()} if name == "analytics" else {}
    return python_client("segment_kin.py", url, calls(BIG), name, refused=refused, **environment)


@pytest.mark.parametrize("name", SEGMENT_KIN)
def test_python_client_delivers_its_eight_calls(opened, name):
    with served(opened) as url:
        assert kin(name, url) == []
    assert stored(opened) == expected(calls(BIG))
    assert at_when(opened)
    assert nothing_odd(opened)


@pytest.mark.parametrize("name", SEGMENT_KIN)
def test_python_client_in_trouble_loses_and_doubles_nothing(opened, name):
    with troubled(opened) as (url, proxy):
        errors = kin(name, url, refused=True)
    assert proxy.met[:4] == list(TROUBLES)
    assert len(errors) == 1, "the refused call is reported, and was sent once"
    assert stored(opened) == expected(calls(BIG))
    assert nothing_odd(opened)
    assert opened.log.stored_counts().duplicate == 8


# --- posthog, customerio -----------------------------------------------------------------------------


def as_posthog_says(given: list[Call]) -> list[Call]:
    """The group's type is part of its id and nobody is named with it; a nameless call is of an anonymous person."""
    said = expected(given)
    for call in said:
        if call["type"] == "group":
            call["properties"] |= {"type": "company", "key": call["groupId"]}
            call["groupId"] = f"company:{call['groupId']}"
            del call["userId"]
    return said


def test_posthog_for_python_delivers_its_eight_calls(opened):
    with served(opened) as url:
        assert python_client("posthog_client.py", url, calls(BIG)) == []
    assert stored(opened) == as_posthog_says(calls(BIG))
    assert at_when(opened)
    assert nothing_odd(opened)


def test_posthog_for_python_in_trouble_loses_and_doubles_nothing(opened):
    with troubled(opened) as (url, proxy):
        errors = python_client("posthog_client.py", url, calls(BIG), refused=True)
    assert proxy.met[:4] == list(TROUBLES)
    assert len(errors) == 1
    assert stored(opened) == as_posthog_says(calls(BIG))
    assert opened.log.stored_counts().duplicate == 8


CUSTOMERIO = [
    *(call for call in calls(BIG) if call["type"] not in ("screen", "group")),
    {"type": "device", "userId": "a/b c", "token": "d-1", "attributes": {"app": "1.2"}},
    {"type": "delete", "userId": "user-2"},
]
CUSTOMERIO_STORED = [
    *expected(CUSTOMERIO[:6]),
    {"type": "track", "event": "Device Created or Updated", "userId": "a/b c", "properties": {"id": "d-1", "platform": "ios", "app": "1.2"}},
    {"type": "track", "event": "User Deleted", "userId": "user-2"},
]  # fmt: skip


@pytest.fixture
def tls(tmp_path):
    made = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    return context, str(made.certificate)


def customerio(url: str, trusted: str, refused: bool = False) -> list[str]:
    return python_client("customerio_client.py", url, CUSTOMERIO, refused=refused, REQUESTS_CA_BUNDLE=trusted)


def test_customerio_delivers_its_calls(opened, tls):
    with troubled(opened, (), tls[0]) as (url, _):
        assert customerio(url, tls[1]) == []
    assert stored(opened) == CUSTOMERIO_STORED
    # It never says when it sent, so nothing can be corrected.
    stamped = ("Order Completed", "Awkward", "Product Viewed")
    assert at_when(opened, lambda call: call.get("event") in stamped, ahead=timedelta())
    assert nothing_odd(opened)


def test_customerio_in_trouble_loses_and_doubles_nothing(opened, tls):
    """It repeats after 500 and 503 and lost answers, not after 429; what has no id of its own can be said twice."""
    troubles = ("spoil", "pass", "503", "hang")
    with troubled(opened, troubles, tls[0]) as (url, proxy):
        assert len(customerio(url, tls[1], refused=True)) == 1
    assert proxy.met[:4] == list(troubles)
    assert stored(opened) == CUSTOMERIO_STORED
    assert opened.log.stored_counts().duplicate == 1


# --- Node ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["segment", "rudder"])
def test_node_client_delivers_its_eight_calls(opened, name):
    with served(opened) as url:
        assert node_client(f"{name}.mjs", url, calls(LARGEST)) == []
    assert stored(opened) == expected(calls(LARGEST))
    assert at_when(opened)
    assert nothing_odd(opened)


# The node client of RudderStack gives up after a timeout, not after a connection that breaks.
@pytest.mark.parametrize(("name", "lost"), [("segment", "hang"), ("rudder", "cut")])
def test_node_client_in_trouble_loses_and_doubles_nothing(opened, name, lost):
    troubles = (*TROUBLES[:3], lost)
    with troubled(opened, troubles) as (url, proxy):
        errors = node_client(f"{name}.mjs", url, calls(LARGEST), refused=True)
    assert proxy.met[:4] == list(troubles)
    assert len(errors) >= 1
    assert in_any_order(stored(opened)) == in_any_order(expected(calls(LARGEST)))
    assert opened.log.stored_counts().duplicate == 8


def test_posthog_for_node_delivers_its_eight_calls(opened):
    with served(opened) as url:
        assert node_client("posthog.mjs", url, calls(LARGEST)) == []
    assert stored(opened) == as_posthog_says(calls(LARGEST))
    assert at_when(opened, lambda call: call["type"] not in ("group", "alias"))
    assert nothing_odd(opened)


def test_posthog_for_node_in_trouble_loses_and_doubles_nothing(opened):
    with troubled(opened) as (url, proxy):
        errors = node_client("posthog.mjs", url, calls(LARGEST), refused=True)
    assert proxy.met[:4] == list(TROUBLES)
    assert len(errors) >= 1
    assert stored(opened) == as_posthog_says(calls(LARGEST))
    assert opened.log.stored_counts().duplicate == 8


JITSU = [call for call in calls(LARGEST) if call["type"] in ("identify", "track", "page", "group")]


@pytest.mark.parametrize("s2s", [False, True])
def test_jitsu_delivers_its_calls(opened, s2s):
    """It makes an anonymous id and goes on to name the person it was told of; what it remembers of that person's traits,
    with those of the group among them, is not said again."""
    with served(opened) as url:
        assert node_client("jitsu.mjs", url, JITSU, s2s=s2s) == []
    found = stored(opened)
    assert len({call.pop("anonymousId") for call in found}) == 1
    assert [call | {"anonymousId": ""} for call in found] == [
        call | {"userId": "user-1", "anonymousId": ""} for call in expected(JITSU)
    ]
    assert bodies(opened)[-1]["context"]["rememberedTraits"]["name"] == "Acme"
    assert bodies(opened)[-1]["context"]["groupId"] == "group-1"
    assert nothing_odd(opened)


def test_jitsu_never_retries(opened):
    """What meets trouble is lost on the client's side; what the server took is there once."""
    troubles = ("spoil", "429", "500", "hang")
    with troubled(opened, troubles) as (url, proxy):
        errors = node_client("jitsu.mjs", url, JITSU, refused=True)
    assert len(errors) == len(troubles)
    assert len(proxy.seen) == len(JITSU) + 1
    assert opened.log.stored_counts().duplicate == 0

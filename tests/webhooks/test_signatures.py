"""Who may come in: each scheme by its published recipe, and everything that must not pass for it."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, strategies as st

from cadenza.adapters.ed25519 import verify_ed25519
from cadenza.clock import to_micros
from cadenza.definitions.kinds import Hmac, Webhook
from cadenza.definitions.signing import SCHEMES
from cadenza.errors import OperatingError
from cadenza.runtime.webhooks import BadSignature, OutsideWindow, Request, Unsigned, WebhookRefused
from cadenza.runtime.webhooks.signatures import MOST_SIGNATURES, Verifier
from tests.collect.asgi import NOW, RECEIVED
from tests.webhooks.kit import SECRET, STANDARD, URL, digest, seconds, signed

GENERIC = Hmac(header="X-Signature", prefix="sha256=", content="{timestamp}.{body}", timestamp_header="X-Timestamp")
BODY = b'{"id": "evt_1"}'
ALL = tuple(SCHEMES)
TIMED = ("standard", "stripe", "calendly", "zendesk", "hubspot", "hmac")


def webhook(scheme: str, **more: object) -> Webhook:
    return Webhook(scheme=scheme, url=URL, hmac=GENERIC if scheme == "hmac" else None, **more)


def verify(
    scheme: str, headers: dict[str, str], body: bytes = BODY, secrets: tuple[str, ...] = (), now: datetime = NOW
) -> None:
    """Verify as the collector does; raises what it raises."""
    known = secrets or ((STANDARD,) if scheme == "standard" else (SECRET,))
    request = Request({name.lower(): value for name, value in headers.items()}, body)
    Verifier("hooks", webhook(scheme), verify_ed25519).verify(request, known, to_micros(now))


@pytest.mark.parametrize("scheme", ALL)
def test_a_request_signed_by_the_recipe_passes(scheme):
    verify(scheme, signed(scheme, BODY))


@pytest.mark.parametrize("scheme", [scheme for scheme in ALL if scheme != "token"])
def test_one_altered_bit_of_the_body_does_not(scheme):
    headers = signed(scheme, BODY)
    for at in range(len(BODY)):
        altered = BODY[:at] + bytes([BODY[at] ^ 1]) + BODY[at + 1 :]
        with pytest.raises(BadSignature):
            verify(scheme, headers, altered)


@pytest.mark.parametrize("scheme", ALL)
def test_another_secret_does_not(scheme):
    other = ("whsec_" + base64.b64encode(b"x" * 24).decode(),) if scheme == "standard" else ("other",)
    with pytest.raises(BadSignature):
        verify(scheme, signed(scheme, BODY), secrets=other)


@pytest.mark.parametrize("scheme", ALL)
def test_any_of_several_secrets_does(scheme):
    """Both sides can change their secret without a gap."""
    right = STANDARD if scheme == "standard" else SECRET
    old = "whsec_" + base64.b64encode(b"old" * 8).decode() if scheme == "standard" else "old"
    verify(scheme, signed(scheme, BODY), secrets=(old, right))
    verify(scheme, signed(scheme, BODY), secrets=(right, old))


@pytest.mark.parametrize("scheme", ALL)
def test_every_header_of_the_scheme_is_needed(scheme):
    headers = signed(scheme, BODY)
    for missing in headers:
        with pytest.raises(Unsigned):
            verify(scheme, {name: value for name, value in headers.items() if name != missing})
        with pytest.raises(Unsigned):
            verify(scheme, {**headers, missing: ""})


# --- time -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", TIMED)
@pytest.mark.parametrize("way", [-1, 1])
def test_the_window_ends_at_five_minutes_both_ways(scheme, way):
    edge = NOW + way * timedelta(seconds=300)
    verify(scheme, signed(scheme, BODY, at=edge))
    with pytest.raises(OutsideWindow):
        verify(scheme, signed(scheme, BODY, at=edge + way * timedelta(seconds=1)))


@pytest.mark.parametrize("scheme", TIMED)
def test_the_window_is_declared(scheme):
    request = Request({k.lower(): v for k, v in signed(scheme, BODY, at=NOW - timedelta(seconds=50)).items()}, BODY)
    key = STANDARD if scheme == "standard" else SECRET
    Verifier("hooks", webhook(scheme, window_s=60), verify_ed25519).verify(request, [key], RECEIVED)
    with pytest.raises(OutsideWindow):
        Verifier("hooks", webhook(scheme, window_s=40), verify_ed25519).verify(request, [key], RECEIVED)


@pytest.mark.parametrize("scheme", TIMED)
def test_a_replay_cannot_freshen_its_timestamp(scheme):
    """The timestamp is signed: with a new one, the old signature no longer fits."""
    old, new = signed(scheme, BODY, at=NOW - timedelta(hours=1)), signed(scheme, BODY)
    mixed = {name: new[name] if "timestamp" in name.lower() else value for name, value in old.items()}
    if scheme in ("stripe", "calendly"):
        (name,) = old
        mixed = {name: new[name].split(",")[0] + "," + old[name].split(",")[1]}
    with pytest.raises(BadSignature):
        verify(scheme, mixed)


@pytest.mark.parametrize(
    "stamp",
    ["", " ", "now", "1e400", "9" * 39, "9" * 4000, "-" + "9" * 30, "NaN", "Infinity", "١٦", "2026-11-22", "0x5f"],
)
def test_a_timestamp_that_is_none_is_turned_away(stamp):
    """Also one that would overflow, or that other languages read as a number."""
    body = digest(f"{stamp}.".encode() + BODY).hex()
    value = stamp.encode().decode("latin-1")
    with pytest.raises((Unsigned, OutsideWindow)):
        verify("stripe", {"Stripe-Signature": f"t={value},v1={body}"})


# --- forms of signatures --------------------------------------------------------------------------------


def test_the_reference_vector_of_standard_webhooks():
    """The one that its libraries test themselves with."""
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }  # fmt: skip
    now = datetime(2021, 2, 25, 15, 2, 10)
    verify("standard", headers, b'{"test": 2432232314}', ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",), now)
    verify("standard", headers, b'{"test": 2432232314}', ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",), now)
    with pytest.raises(BadSignature):
        verify("standard", headers, b'{"test": 2432232315}', ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",), now)


def test_the_reference_vector_of_its_ed25519_signatures():
    seed = base64.b64decode("VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=")
    raw = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    key = "whpk_" + base64.b64encode(raw).decode()
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
        "webhook-signature": "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag==",
    }  # fmt: skip
    now = datetime(2021, 2, 25, 15, 2, 10)
    verify("standard", headers, b'{"test": 2432232314}', (key,), now)
    verify("standard", headers, b'{"test": 2432232314}', (STANDARD, key), now)
    for secrets in ((STANDARD,), ("whpk_AAAA",), ("whpk_!!",)):
        with pytest.raises(BadSignature):
            verify("standard", headers, b'{"test": 2432232314}', secrets, now)


def test_a_symmetric_signature_is_not_taken_for_an_asymmetric_one():
    """Nobody may use the public key, which is public, as the key of an HMAC."""
    public = base64.b64encode(b"p" * 32).decode()
    headers = signed("standard", BODY)
    forged = digest(f"msg_1.{seconds()}.".encode() + BODY, "p" * 32)
    headers["webhook-signature"] = "v1," + base64.b64encode(forged).decode()
    with pytest.raises(BadSignature):
        verify("standard", headers, secrets=("whpk_" + public,))


def test_one_good_signature_among_several_is_enough():
    headers = signed("standard", BODY)
    noise = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v2,abc v1a,AAAA v1"
    verify("standard", {**headers, "webhook-signature": f"{noise} {headers['webhook-signature']}"})
    stripe = signed("stripe", BODY)["Stripe-Signature"]
    stamp, good = stripe.split(",")
    verify("stripe", {"Stripe-Signature": f"{stamp},v1={'0' * 64},{good},v0={'1' * 64}"})


def test_only_a_bounded_number_of_signatures_is_looked_at():
    stamp, good = signed("stripe", BODY)["Stripe-Signature"].split(",")
    many = ",".join([stamp, *[f"v1={'0' * 64}"] * MOST_SIGNATURES, good])
    with pytest.raises(BadSignature):
        verify("stripe", {"Stripe-Signature": many})


def test_a_signature_of_another_version_is_none():
    stripe = signed("stripe", BODY)["Stripe-Signature"]
    with pytest.raises(BadSignature):
        verify("stripe", {"Stripe-Signature": stripe.replace("v1=", "v0=")})


@pytest.mark.parametrize("scheme", [scheme for scheme in ALL if scheme != "token"])
@pytest.mark.parametrize("wrong", ["", "zz", "é", "=", "\x00", "AAAA", "0" * 100_000])
def test_a_signature_in_a_wrong_encoding_matches_nothing(scheme, wrong):
    headers = signed(scheme, BODY)
    name = next(name for name in headers if "signature" in name.lower() or "hmac" in name.lower())
    prefix = {"standard": "v1,", "github": "sha256=", "intercom": "sha1=", "hmac": "sha256="}.get(scheme, "")
    value = f"t={seconds()},v1={wrong}" if scheme in ("stripe", "calendly") else prefix + wrong
    with pytest.raises((BadSignature, Unsigned)):
        verify(scheme, {**headers, name: value})


def test_hex_may_be_in_capitals():
    value = signed("github", BODY)["X-Hub-Signature-256"]
    verify("github", {"X-Hub-Signature-256": "sha256=" + value.removeprefix("sha256=").upper()})


def test_a_missing_prefix_is_told():
    with pytest.raises(Unsigned, match="does not begin with 'sha256='"):
        verify("github", {"X-Hub-Signature-256": digest(BODY).hex()})


def test_a_secret_of_standard_webhooks_must_be_base64():
    with pytest.raises(OperatingError, match="not base64"):
        verify("standard", signed("standard", BODY), secrets=("whsec_no base64",))


def test_the_query_is_signed_where_the_address_is():
    millis = str(RECEIVED // 1000)
    made = base64.b64encode(digest(f"POST{URL}?a=1".encode() + BODY + millis.encode())).decode()
    headers = {"x-hubspot-signature-v3": made, "x-hubspot-request-timestamp": millis}
    verifier = Verifier("hooks", webhook("hubspot"), verify_ed25519)
    verifier.verify(Request(headers, BODY, b"a=1"), [SECRET], RECEIVED)
    for query in (b"", b"a=2"):
        with pytest.raises(BadSignature):
            verifier.verify(Request(headers, BODY, query), [SECRET], RECEIVED)


def test_every_part_of_a_declared_content_is_signed():
    declared = Hmac(
        header="S", algorithm="sha512", encoding="base64", content="v0:{id}:{timestamp}:{method}:{body}",
        id_header="I", timestamp_header="T", timestamp_format="milliseconds",
    )  # fmt: skip
    millis = str(RECEIVED // 1000)
    made = base64.b64encode(digest(f"v0:7:{millis}:POST:".encode() + BODY, algorithm="sha512")).decode()
    verifier = Verifier("hooks", Webhook(scheme="hmac", hmac=declared), verify_ed25519)
    good = {"s": made, "i": "7", "t": millis}
    verifier.verify(Request(good, BODY), [SECRET], RECEIVED)
    for changed in ({"i": "8"}, {"t": str(int(millis) + 1)}):
        with pytest.raises(BadSignature):
            verifier.verify(Request(good | changed, BODY), [SECRET], RECEIVED)
    with pytest.raises(BadSignature):
        verifier.verify(Request(good, BODY, method="PUT"), [SECRET], RECEIVED)


@given(headers=st.dictionaries(
    st.sampled_from(["stripe-signature", "webhook-id", "webhook-timestamp", "webhook-signature", "x-hub-signature-256",
                     "x-hubspot-signature-v3", "x-hubspot-request-timestamp", "authorization", "x-signature",
                     "x-zendesk-webhook-signature", "x-zendesk-webhook-signature-timestamp", "x-timestamp"]),
    st.text(st.characters(max_codepoint=255), max_size=60),
), body=st.binary(max_size=40), scheme=st.sampled_from(ALL))  # fmt: skip
def test_nothing_made_up_ever_passes_or_breaks(headers, body, scheme):
    key = STANDARD if scheme == "standard" else SECRET
    with pytest.raises(WebhookRefused):
        Verifier("hooks", webhook(scheme), verify_ed25519).verify(Request(headers, body), [key], RECEIVED)

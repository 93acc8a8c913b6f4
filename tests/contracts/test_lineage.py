"""Who reads a field, and on which way."""

from __future__ import annotations

from cadenza.definitions.lineage import readers
from tests.contracts.kit import project

PLAN = project(
    """contracts:
  Order Completed: { properties: { revenue: { type: decimal }, order_id: { type: string }, sku: { type: string } } }
  Order Refunded: { properties: { revenue: { type: decimal } } }
  identify: { properties: { email: { type: string }, country: { type: string }, zone: { type: string } } }
""",
    identity="identifiers:\n  - { type: user_id, from: userId }\n  - { type: email, from: traits.email }\n",
    traits__t="""traits:
  spent: { type: decimal, value: "sum_of('Order Completed', revenue)" }
  big: { type: integer, value: "events('Order Completed', where => revenue > 100)" }
  email: { type: string, from: traits.email }
  country: { type: string, from: traits.country }
  time_zone: { type: string, from: traits.zone }
""",
    segments__s="segments:\n  rich: { when: spent > 1000 }\n  richer: { when: in_segment('rich') and country = 'UK' }\n",
    metrics__m="metric: worth\nkind: sum\nevent: Order Completed\nproperty: revenue\nminus: Order Refunded\nwithin: 7 days\n",
    destinations__d="destination: mail\nchannel: email\nadapter: mailbox\naddress: email\n",
    templates__t="template: thanks\nchannel: email\npurpose: marketing\nsubject: 'Order {{ entry.order_id }}'\nbody: 'From {{ country }}'\n",
    journeys__j="""journey: thank
owner: o
outcome: { metric: worth }
entry:
  on: { event: Order Completed, where: sku = 'x' }
  when: in_segment('rich')
exit: { goal: "event('Order Refunded', where => revenue > 1)", disqualified: "not consented('marketing', 'email')",
        superseded: true, time_limit: 30 days }
steps: [ { send: thanks } ]
""",
)


def found(contract: str, field: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {f"{r.kind} {r.name}": (r.where, r.through) for r in readers(PLAN, contract, field)}


def test_a_field_of_an_event_and_everything_that_follows_from_it() -> None:
    assert found("Order Completed", "revenue") == {
        "trait spent": ("value", ()),
        "trait big": ("value", ()),
        "metric worth": ("property", ()),
        "segment rich": ("when", ("trait spent",)),
        "segment richer": ("when", ("trait spent", "segment rich")),
        "journey thank": ("outcome", ("metric worth",)),
        "template thanks": ("sent by it", ("metric worth", "journey thank")),
    }


def test_where_a_bare_property_stands_says_whose_it_is() -> None:
    assert found("Order Refunded", "revenue")["journey thank"] == ("exit.goal", ())
    assert found("Order Completed", "sku")["journey thank"] == ("entry.on.where", ())
    assert "journey thank" not in found("Order Refunded", "sku")


def test_templates_read_the_entry_and_traits() -> None:
    assert found("Order Completed", "order_id") == {"template thanks": ("subject", ())}
    assert found("identify", "country")["template thanks"] == ("body", ("trait country",))
    assert found("identify", "country")["segment richer"] == ("when", ("trait country",))


def test_identity_destinations_and_the_policy_read_traits() -> None:
    assert found("identify", "email") == {
        "identity email": ("from", ()), "trait email": ("from", ()), "destination mail": ("address", ("trait email",)),
    }  # fmt: skip
    assert found("identify", "zone")["policy policy"] == ("time_zone_trait", ("trait time_zone",))


def test_nobody_reads_what_nobody_names() -> None:
    assert found("Order Completed", "nothing") == {} == found("No Such Event", "revenue")

"""Journeys: exits, entries and moves of every passage of a wave, at once."""

from __future__ import annotations

from cadenza.stages.journeys.control import (
    Command as Command,
)
from cadenza.stages.journeys.control import (
    Controls as Controls,
)
from cadenza.stages.journeys.control import (
    Kill as Kill,
)
from cadenza.stages.journeys.control import (
    hold_back as hold_back,
)
from cadenza.stages.journeys.entering import (
    asking as asking,
)
from cadenza.stages.journeys.entering import (
    asks_for_goals as asks_for_goals,
)
from cadenza.stages.journeys.entering import (
    candidates as candidates,
)
from cadenza.stages.journeys.entering import (
    count_unqualified as count_unqualified,
)
from cadenza.stages.journeys.entering import (
    judge as judge,
)
from cadenza.stages.journeys.entering import (
    record_entries as record_entries,
)
from cadenza.stages.journeys.keeping import (
    kept_columns as kept_columns,
)
from cadenza.stages.journeys.keeping import (
    remembering as remembering,
)
from cadenza.stages.journeys.reach import (
    Frontier as Frontier,
)
from cadenza.stages.journeys.reach import (
    Ways as Ways,
)
from cadenza.stages.journeys.reach import (
    asked as asked,
)
from cadenza.stages.journeys.reach import (
    every_stop as every_stop,
)
from cadenza.stages.journeys.reach import (
    expressions as expressions,
)
from cadenza.stages.journeys.reach import (
    hand_offs as hand_offs,
)
from cadenza.stages.journeys.reach import (
    may_send as may_send,
)
from cadenza.stages.journeys.reach import (
    reachable as reachable,
)
from cadenza.stages.journeys.reach import (
    reachable_hops as reachable_hops,
)
from cadenza.stages.journeys.reach import (
    reachable_sends as reachable_sends,
)
from cadenza.stages.journeys.reach import (
    triggered as triggered,
)
from cadenza.stages.journeys.reach import (
    widened as widened,
)
from cadenza.stages.journeys.reach import (
    widened_candidates as widened_candidates,
)
from cadenza.stages.journeys.reach import (
    widened_events as widened_events,
)
from cadenza.stages.journeys.reach import (
    widened_sends as widened_sends,
)
from cadenza.stages.journeys.reach import (
    widened_ways as widened_ways,
)
from cadenza.stages.journeys.rechecking import (
    boundaries as boundaries,
)
from cadenza.stages.journeys.rechecking import (
    recheck as recheck,
)
from cadenza.stages.journeys.rechecking import (
    rechecked as rechecked,
)
from cadenza.stages.journeys.rechecking import (
    windowed_journeys as windowed_journeys,
)
from cadenza.stages.journeys.waiting import (
    dated as dated,
)
from cadenza.stages.journeys.waiting import (
    local_traits as local_traits,
)
from cadenza.stages.journeys.waiting import (
    rests as rests,
)
from cadenza.stages.journeys.walking import (
    after_sends as after_sends,
)
from cadenza.stages.journeys.walking import (
    ends as ends,
)
from cadenza.stages.journeys.walking import (
    exits as exits,
)
from cadenza.stages.journeys.walking import (
    goers as goers,
)
from cadenza.stages.journeys.walking import (
    moves as moves,
)
from cadenza.stages.journeys.walking import (
    nothing_live as nothing_live,
)
from cadenza.stages.journeys.walking import (
    passages as passages,
)
from cadenza.stages.journeys.walking import (
    replace as replace,
)
from cadenza.stages.journeys.walking import (
    settle as settle,
)
from cadenza.stages.journeys.walking import (
    ways as ways,
)

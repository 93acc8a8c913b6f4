"""Journeys: exits, entries and moves of every passage of a wave, at once."""

from __future__ import annotations

from cadenza.stages.journeys.control import (
    Command as Command,
    Controls as Controls,
    Kill as Kill,
    hold_back as hold_back,
)
from cadenza.stages.journeys.entering import (
    asking as asking,
    asks_for_goals as asks_for_goals,
    candidates as candidates,
    count_unqualified as count_unqualified,
    judge as judge,
    programmes as programmes,
    record_entries as record_entries,
)
from cadenza.stages.journeys.keeping import (
    keep_at_entry as keep_at_entry,
    kept_columns as kept_columns,
    read_at_entry as read_at_entry,
    remembering as remembering,
)
from cadenza.stages.journeys.leaving import (
    leave as leave,
    leavers as leavers,
    left as left,
)
from cadenza.stages.journeys.reach import (
    Frontier as Frontier,
    Ways as Ways,
    asked as asked,
    calls as calls,
    every_stop as every_stop,
    expressions as expressions,
    hand_offs as hand_offs,
    may_send as may_send,
    reachable as reachable,
    reachable_hops as reachable_hops,
    reachable_sends as reachable_sends,
    triggered as triggered,
    widened as widened,
    widened_candidates as widened_candidates,
    widened_events as widened_events,
    widened_sends as widened_sends,
    widened_ways as widened_ways,
)
from cadenza.stages.journeys.rechecking import (
    boundaries as boundaries,
    recheck as recheck,
    rechecked as rechecked,
    windowed_journeys as windowed_journeys,
)
from cadenza.stages.journeys.waiting import (
    dated as dated,
    local_traits as local_traits,
    rests as rests,
)
from cadenza.stages.journeys.walking import (
    after_sends as after_sends,
    ends as ends,
    exits as exits,
    goers as goers,
    moves as moves,
    nothing_live as nothing_live,
    passages as passages,
    settle as settle,
    ways as ways,
)

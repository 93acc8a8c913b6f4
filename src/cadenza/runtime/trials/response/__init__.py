"""The response model: how often things happen to people and what they do when they get a message, from the store's own
history, each with its uncertainty; and people who behave so, on a virtual clock."""

from cadenza.runtime.trials.response.fit import Effect, EventRate, Fit, ResponseRate, described
from cadenza.runtime.trials.response.history import fitted
from cadenza.runtime.trials.response.model import ANSWERS, Model
from cadenza.runtime.trials.response.people import People

__all__ = [
    "ANSWERS",
    "Effect",
    "EventRate",
    "Fit",
    "Model",
    "People",
    "ResponseRate",
    "described",
    "fitted",
]

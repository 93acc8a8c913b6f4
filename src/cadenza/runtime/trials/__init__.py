"""Trials: a draft over the real history, the pressure of the days to come, a simulated future. The same tick does the
deciding, in scratch stores; nothing is appended to the log, nothing is published, nothing leaves the house."""

from cadenza.runtime.trials.backtest import Backtest, Wanted
from cadenza.runtime.trials.figures import JourneyVolume, Side
from cadenza.runtime.trials.forecast import Forecast
from cadenza.runtime.trials.simulate import Course, JourneyAhead, Passed, Simulation
from cadenza.runtime.trials.spread import Spread
from cadenza.runtime.trials.trials import Trials

__all__ = [
    "Backtest",
    "Course",
    "Forecast",
    "JourneyAhead",
    "JourneyVolume",
    "Passed",
    "Side",
    "Simulation",
    "Spread",
    "Trials",
    "Wanted",
]

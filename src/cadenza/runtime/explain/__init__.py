"""Explain: why one person is where they are, with the evidence."""

from cadenza.runtime.explain.not_qualified import why_not
from cadenza.runtime.explain.person import explain, find
from cadenza.runtime.explain.views import Explanation, NotQualifiedView

__all__ = ["Explanation", "NotQualifiedView", "explain", "find", "why_not"]

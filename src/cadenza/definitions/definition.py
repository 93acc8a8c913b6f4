"""What every struct of a definition is."""

from __future__ import annotations

import msgspec


class Definition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A frozen value of the language. Fields that are not said keep their default and are left out of the fingerprint."""

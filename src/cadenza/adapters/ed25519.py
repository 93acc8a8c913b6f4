"""Ed25519 signatures, where the optional package ``cryptography`` is installed."""

from __future__ import annotations

from cadenza.errors import OperatingError


def verify_ed25519(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is that of ``message``; a key or signature of a wrong length is not. Raises OperatingError
    when the package is not installed."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise OperatingError(
            "Ed25519 signatures (v1a) need the package 'cryptography'.", remedy="Install cadenza[ed25519]."
        ) from None
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True

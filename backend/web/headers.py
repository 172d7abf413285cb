"""The headers of every answer, whatever gave it: a page, an error, a redirect, an event stream.

Trusted types allow two policies: ours (`anlu`, which lets through one address, the service worker's) and the one Vue makes for itself
(`vue`).
"""

from collections.abc import Iterable

CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types anlu vue",
    )
)
HSTS_SECONDS = 63_072_000

HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": ", ".join(
        (
            "camera=(self)",
            "microphone=(self)",
            "geolocation=(self)",
            "screen-wake-lock=(self)",
            "usb=()",
            "payment=()",
            "browsing-topics=()",
        )
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}

NO_STORE = "no-store"
"""What the API answers belongs to one person: no cache keeps it unless the handler says how."""


def complete(given: Iterable[tuple[bytes, bytes]], path: str, *, https: bool) -> list[tuple[bytes, bytes]]:
    """The headers of an answer with ours added; one of ours that a handler set otherwise is replaced."""
    ours = dict(HEADERS)
    if https:
        ours["strict-transport-security"] = f"max-age={HSTS_SECONDS}; includeSubDomains"
    kept = [(name, value) for name, value in given if name.lower().decode("latin-1") not in ours]
    if path.startswith("/api/") and not any(name.lower() == b"cache-control" for name, _ in kept):
        kept.append((b"cache-control", NO_STORE.encode()))
    return kept + [(name.encode(), value.encode()) for name, value in ours.items()]

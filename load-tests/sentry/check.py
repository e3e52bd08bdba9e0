"""Reads envelopes as Sentry's server does, and reports what it would drop.

Arguments: files with one envelope each. sentry-relay is the code that Sentry
runs on every event; whatever it cannot take ends in the event's `_meta`.
"""

import json
import sys

from sentry_relay.processing import StoreNormalizer


def items(envelope):
    """The items of an envelope, each with its header."""
    _, rest = envelope.split(b"\n", 1)
    while rest.strip():
        line, rest = rest.split(b"\n", 1)
        header = json.loads(line)
        length = header.get("length")
        if length is None:
            payload, _, rest = rest.partition(b"\n")
        else:
            payload, rest = rest[:length], rest[length:].removeprefix(b"\n")
        yield header["type"], payload


def complaints(meta, path=""):
    """Every error in `_meta`, with its path."""
    if not isinstance(meta, dict):
        return
    for key, value in meta.items():
        if key == "" and isinstance(value, dict) and value.get("err"):
            yield f"{path}: {value['err']}"
        elif key != "":
            yield from complaints(value, f"{path}.{key}")


def main():
    normalizer = StoreNormalizer(project_id=1, protocol_version="7", is_renormalize=False)
    read, bad = {}, []
    for name in sys.argv[1:]:
        with open(name, "rb") as file:
            envelope = file.read()
        for kind, payload in items(envelope):
            read[kind] = read.get(kind, 0) + 1
            if kind not in ("event", "transaction"):
                continue
            event = normalizer.normalize_event(json.loads(payload))
            bad += [f"{kind} {where}" for where in complaints(event.get("_meta"))]
            bad += [f"{kind} {error}" for error in event.get("errors") or []]
    print(json.dumps({"read": read, "bad": bad}))


main()

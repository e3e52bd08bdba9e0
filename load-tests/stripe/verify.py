"""Signs as Stripe's official Python library does, posts to a running ingress,
and lets the library judge a header that was made elsewhere.

Reads one JSON object from stdin: url, secret, body, header (ours, for body).
Prints one: the status of a good and of two tampered deliveries, the id of the
event that the library read out of our delivery, and whether it refused ours
with another body.
"""

import json
import sys
import time
import urllib.error
import urllib.request

import stripe


def sign(body, secret):
    now = int(time.time())
    signature = stripe.WebhookSignature._compute_signature(f"{now}.{body}", secret)
    return f"t={now},v1={signature}"


def post(url, body, header):
    headers = {"Stripe-Signature": header, "Content-Type": "application/json; charset=utf-8"}
    request = urllib.request.Request(url, body.encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as refusal:
        return refusal.code


def refuses(body, header, secret):
    try:
        stripe.Webhook.construct_event(body, header, secret)
    except stripe.SignatureVerificationError:
        return True
    return False


def main():
    told = json.load(sys.stdin)
    url, secret, body, ours = (told[name] for name in ("url", "secret", "body", "header"))
    theirs = sign(body, secret)
    event = stripe.Webhook.construct_event(body, ours, secret)
    print(json.dumps({
        "library": f"stripe-python {stripe.VERSION}",
        "good": post(url, body, theirs),
        "other_body": post(url, body.replace("cus_1", "cus_2"), theirs),
        "other_secret": post(url, body, sign(body, secret + "x")),
        "read": event.id,
        "refused": refuses(body.replace("cus_1", "cus_2"), ours, secret),
    }))


main()

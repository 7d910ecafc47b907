"""The official library, used as its documentation shows, on requests as they were received."""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


def is_authentic(secret, signed, headers):
    try:
        # The library parses what it has verified as JSON; a query or a form is none.
        Webhook(secret).verify(signed, headers)
    except WebhookVerificationError:
        return False
    except json.JSONDecodeError:
        return True
    return True


def check(case):
    headers = {name: case["headers"][name] for name in HEADERS}
    signed = case["signed"]
    assert signed, "nothing was signed"
    for secret in case["good"]:
        assert is_authentic(secret, signed, headers), "an authentic request was refused"
        for altered in (signed + "x", signed[:-1], chr(ord(signed[0]) ^ 1) + signed[1:]):
            assert not is_authentic(secret, altered, headers), f"altered and accepted: {altered}"
        for name, value in (("webhook-id", "dlv_other"), ("webhook-timestamp", str(int(headers["webhook-timestamp"]) - 1))):
            assert not is_authentic(secret, signed, {**headers, name: value}), f"other {name}"
        old = str(int(headers["webhook-timestamp"]) - 3600)
        assert not is_authentic(secret, signed, {**headers, "webhook-timestamp": old}), "a replay"
    for secret in case["bad"]:
        assert not is_authentic(secret, signed, headers), "another secret's signature was accepted"
    expected = max(1, len(case["good"]))
    assert len(headers["webhook-signature"].split()) == expected, headers["webhook-signature"]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    for case in cases:
        check(case)
    print(f"{len(cases)} requests verified")


if __name__ == "__main__":
    main()

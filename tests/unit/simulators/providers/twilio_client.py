"""Requests to the Twilio stand-in."""

from base64 import b64encode

from infra.simulators.providers.accounts import TwilioAccount
from tests.unit.simulators.providers.webhook import PUBLIC

ACCOUNT = TwilioAccount()
GOOD = {"To": "+4520123456", "From": "+4520111111", "Body": "Hi", "StatusCallback": PUBLIC}


def basic(user, password):
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


def messages_url(ports, account=ACCOUNT.account_sid):
    return f"http://127.0.0.1:{ports.twilio}/2010-04-01/Accounts/{account}/Messages.json"

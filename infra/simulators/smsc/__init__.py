"""An SMSC to develop and test against: `python -m infra.simulators.smsc`.

The last four digits of the destination choose what happens to a message (BEHAVIOURS); every other
number is delivered. Options (OPTIONS) make the whole SMSC slow, throttling, mute, forgetful or
strange; each is a flag and can be changed on the control port while it runs:

    GET   /stats                  counters, every bind, submissions by the second
    GET   /submits?destination=…  what was submitted, the newest 1,000 (`limit` up to 10,000)
    GET   /accepted?destination=… by destination and text the message ids, and when their
                                  receipts were sent
    GET   /duplicates             texts that the same destination was sent more than once
    GET   /options                the options as they are
    PATCH /options                change some: all of them or, with status 400, none
    POST  /mo                     deliver a message (MobileOriginated) to the ESME
    POST  /reset                  forget all that was seen, and every receipt not yet sent
    POST  /links/kill             cut every connection, as a network failure would; `?bind=` one

query_sm, cancel_sm and replace_sm are answered as unknown: generic_nack with ESME_RINVCMDID.
"""

from infra.simulators.options import OptionsError
from infra.simulators.smsc.behaviours import BEHAVIOURS, DELIVERED, Behaviour
from infra.simulators.smsc.content import Part, read_payload, read_text
from infra.simulators.smsc.mo import MobileOriginated
from infra.simulators.smsc.options import OPTIONS, Options
from infra.simulators.smsc.record import Counters, Link, Submit
from infra.simulators.smsc.schedule import Schedule
from infra.simulators.smsc.simulator import SmscSimulator

__all__ = [
    "BEHAVIOURS",
    "DELIVERED",
    "OPTIONS",
    "Behaviour",
    "Counters",
    "Link",
    "MobileOriginated",
    "Options",
    "OptionsError",
    "Part",
    "Schedule",
    "SmscSimulator",
    "Submit",
    "read_payload",
    "read_text",
]

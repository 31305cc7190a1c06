"""Local stand-ins of Twilio, SendGrid, FCM and WhatsApp: `python -m infra.simulators.providers`.

README.md says what they do. Recipients choose what happens (behaviours.py).
"""

from infra.simulators.options import OptionsError
from infra.simulators.providers.accounts import Accounts
from infra.simulators.providers.behaviours import FCM, SENDGRID, TWILIO, WHATSAPP
from infra.simulators.providers.options import OPTIONS, Options
from infra.simulators.providers.simulator import Ports, ProviderSandbox

__all__ = [
    "FCM",
    "OPTIONS",
    "SENDGRID",
    "TWILIO",
    "WHATSAPP",
    "Accounts",
    "Options",
    "OptionsError",
    "Ports",
    "ProviderSandbox",
]

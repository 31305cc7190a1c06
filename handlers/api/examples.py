"""Examples of request bodies, for those whose types have none of their own."""

from __future__ import annotations

from typing import Any, Final

_REMINDER: Final = {
    "languages": {
        "en": {"text": "Hello {{name}}, your table is ready at {{time}}."},
        "da": {"text": "Hej {{name}}, dit bord er klar kl. {{time}}."},
    },
    "default_language": "en",
    "variables": {"name": {"type": "text", "max_length": 40}, "time": {"type": "text"}},
}

EXAMPLES: Final[dict[str, Any]] = {
    "BatchBody": {
        "messages": [
            {"to": {"sms": "+4520123456"}, "content": {"text": "Your table is ready."}},
            {"to": {"email": "anna@example.com"}, "content": {"text": "Your table is ready."}},
        ]
    },
    "RecipientBody": {"to": {"sms": "+4520123456", "email": "anna@example.com"}},
    "RotationBody": {"grace": 86400},
    "TemplateDraft": {"name": "table-ready", "definition": _REMINDER},
    "VersionDraft": {"definition": _REMINDER, "activate": True},
    "ExplainBody": {"to": "+4520123456", "channel": "sms", "category": "otp"},
}
"""By the name of the schema."""

"""Every setting of a tenant is documented, and wrong ones are told all together."""

from __future__ import annotations

import json

import pytest

from adapters.store.tenant_settings import SettingsInvalid, merged
from domain.tenancy import Tenant
from infra.tenant_settings import MEANINGS, settings


def test_every_setting_has_its_line():
    """A new one gets its meaning in `infra/tenant_settings.py`; then `make docs`."""
    assert {setting.key for setting in settings()} == set(MEANINGS)


@pytest.mark.parametrize("setting", settings(), ids=lambda setting: setting.key)
def test_every_line_has_a_type(setting):
    assert setting.kind


FAULTS = {
    "a bound, an unknown key and another bound": (
        {"content": {"max_segments": 99}, "foo": {"bar": 1}, "retention": {"days": -1}},
        {("unknown_field", "foo"), ("out_of_range", "content.max_segments"),
         ("out_of_range", "retention.days")},
    ),
    "a key that is no category": (
        {"limits": {"recipient": {"count": 5, "seconds": 3600}}},
        {
            ("unknown_value", "limits.recipient.count"),
            ("wrong_type", "limits.recipient.count"),
            ("unknown_value", "limits.recipient.seconds"),
            ("wrong_type", "limits.recipient.seconds"),
        },
    ),
    "half of a limit": (
        {"limits": {"tenant": {"count": 5}, "daily": 0}},
        {("required", "limits.tenant.seconds"), ("out_of_range", "limits.daily")},
    ),
    "an id, and more": (
        {"id": "b", "tier": "golden"},
        {("invalid_value", "id"), ("unknown_value", "tier")},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("patch", "faults"), FAULTS.values(), ids=FAULTS)
def test_all_faults_are_told(patch, faults):
    with pytest.raises(SettingsInvalid) as refused:
        merged(Tenant("acme"), patch)
    found = {(fault.code, ".".join(map(str, fault.path))) for fault in refused.value.faults}
    assert found == faults
    said = json.dumps([fault.detail for fault in refused.value.faults])
    assert "Expected" not in said
    assert "regex" not in said

"""E-mail as it arrives."""

from tests.scenarios.driver import Driver, email, entries, entry, mailbox


def test_email_arrives_as_multipart_with_our_message_id(hermes):
    inbox = mailbox()
    sent = hermes.send(
        email(),
        to_email=inbox,
        text="Hej Ærø",
        content={"subject": "Blåbærgrød 🫐", "html": "<p>Hej <b>Ærø</b></p>"},
    )
    message = hermes.ended(sent)
    assert (message["status"], message["level"]) == ("sent", "sent")
    [mail] = hermes.mails(inbox)
    assert mail["message_id"] == f"<{sent}.1@hermes.example>"
    assert entry(message, "submitted")["provider_ids"] == [mail["message_id"]]
    assert (mail["subject"], mail["to"]) == ("Blåbærgrød 🫐", [inbox])
    assert (mail["text"].strip(), mail["html"].strip()) == ("Hej Ærø", "<p>Hej <b>Ærø</b></p>")
    headers = dict(mail["headers"])
    assert headers["Content-Type"].startswith("multipart/alternative")
    assert headers["Auto-Submitted"] == "auto-generated"


def test_bounced_recipient_fails_at_once(hermes):
    message = hermes.ended(hermes.send(email(), to_email=mailbox("bounce")), within=3)
    assert (message["status"], message["failure"]["code"]) == ("failed", "recipient_invalid")
    assert message["failure"]["provider_code"] == "550"


def test_busy_mailbox_is_tried_again_until_the_step_is_over(hermes):
    message = hermes.ended(hermes.send(email(timeout=3), to_email=mailbox("busy")))
    assert message["status"] == "failed"
    tries = entries(message, "failed")
    said = {(each["failure"]["code"], each["failure"]["provider_code"]) for each in tries}
    assert said == {("provider_error", "451")}
    assert hermes.smtp()["recipients_deferred"] >= len(tries) >= 2
    # Time was up, and the end says what the relay had said to every try until then.
    assert entries(message, "timeout")
    failure = message["failure"]
    assert (failure["code"], failure["provider_code"]) == ("provider_error", "451")


def test_relay_with_tls_and_login(tmp_path, authority, certificate):
    driver = Driver(
        tmp_path / "stack",
        components=("restate", "mail", "endpoint", "api"),
        mail=(
            *("--tls-certificate", str(certificate.chain), "--tls-key", str(certificate.key)),
            "--require-tls",
            *("--username", "hermes", "--password", "wonderland"),
        ),
        environment={
            "HERMES_EMAIL__HOST": "127.0.0.1",
            "HERMES_EMAIL__TLS": "starttls",
            "HERMES_EMAIL__CA_FILE": str(authority.file),
            "HERMES_EMAIL__USERNAME": "hermes",
            "HERMES_EMAIL__PASSWORD": "wonderland",
        },
    )
    try:
        driver.start()
        inbox = mailbox()
        assert driver.ended(driver.send(email(), to_email=inbox))["status"] == "sent"
        [mail] = driver.mails(inbox)
        assert (mail["tls"], mail["authenticated_as"]) == (True, "hermes")
    finally:
        driver.close()

"""What is wrong with the settings is said in one line for each fault, and what may be left out."""

import pytest

from infra.settings import ConfigurationError, load


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    import os

    for name in [name for name in os.environ if name.startswith("HERMES_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def said(directory):
    """What is said of a file."""

    def said(content):
        (directory / "hermes.toml").write_text(content)
        with pytest.raises(ConfigurationError) as caught:
            load()
        return str(caught.value).splitlines()

    return said


@pytest.mark.parametrize(
    ("content", "line"),
    [("[api\n", "line 1"), ('data_dir = ".hermes"\n\napi\n', "line 3")],
)
def test_a_file_that_is_no_toml(said, content, line):
    [fault] = said(content)
    assert fault.startswith("hermes.toml is no TOML: ")
    assert line in fault


def test_a_file_that_cannot_be_read(directory, monkeypatch):
    (directory / "hermes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"hermes\.toml cannot be read"):
        load()
    monkeypatch.setenv("HERMES_CONFIG", "elsewhere.toml")
    with pytest.raises(ConfigurationError, match=r"elsewhere\.toml, which is no file"):
        load()


def test_a_variable_that_is_no_json(monkeypatch):
    monkeypatch.setenv("HERMES_CARRIERS", "[{")
    with pytest.raises(ConfigurationError, match="HERMES_CARRIERS, or a variable of one of its"):
        load()


@pytest.mark.parametrize(
    ("content", "table", "key", "value"),
    [
        ('[api]\nhost = "0.0.0.0"', "api", "port", 8000),
        ('[endpoint]\nhost = "0.0.0.0"', "endpoint", "port", 9080),
        ('[pool]\nhost = "0.0.0.0"', "pool", "port", 9081),
        ("[api]\nport = 1", "api", "host", "127.0.0.1"),
        ("[restate]\ndirect = false", "restate", "admin", "http://127.0.0.1:9070"),
        ('[email]\nhost = "relay.example"', "email", "port", 1025),
    ],
)
def test_what_has_a_default_may_be_left_out(directory, content, table, key, value):
    (directory / "hermes.toml").write_text(content)
    assert getattr(getattr(load(), table), key) == value


def test_a_variable_alone_leaves_the_rest_of_its_table(monkeypatch):
    monkeypatch.setenv("HERMES_API__HOST", "0.0.0.0")
    assert load().api.port == 8000


@pytest.mark.parametrize(
    ("written", "ton", "npi"), [("{ton = 3}", 3, 0), ("{npi = 9}", 5, 9), ("{}", 5, 0)]
)
def test_an_addresss_half_may_be_left_out(directory, written, ton, npi):
    (directory / "hermes.toml").write_text(
        '[[carriers]]\nname = "telia"\nhosts = ["smsc.example:2775"]\nsystem_id = "us"\n'
        f'password = "secret"\nsource_alphanumeric = {written}\n'
    )
    [carrier] = load().carriers
    address = carrier.source_alphanumeric
    assert (address.ton, address.npi) == (ton, npi)


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        ("[api]\nprt = 1", ["api.prt: there is no such key; right is port"]),
        ("nonsense = 1", ["nonsense: there is no such key; right is one of "]),
        ("[api]\nport = 70000", ["api.port: write a number of at most 65535"]),
        ('[api]\nport = "x"', ["api.port: write a whole number"]),
        ("api = 1", ["api: write a table"]),
        ("[restate]\ningress = []", ["restate.ingress: write an address, or a list of at least"]),
        ("[restate]\ndirect = 3", ["restate.direct: write true or false"]),
        ('[email]\ntls = "ssl"', ["email.tls: write 'none', 'starttls' or 'implicit'"]),
        ("[email]\ntimeout = 0", ["email.timeout: write a number above 0"]),
        ('[admin]\nkey = "short"', ["admin.key: a key has 16 to 512"]),
        (
            '[[inbound]]\nnumber = "x"\ntenant = "acme"\n',
            ["inbound.0.number: write 1 to 15 digits", "inbound.0.url: is missing"],
        ),
        ('[[inbound]]\nnumbr = "1"\n', ["inbound.0.number: is m", "inbound.0.tenant: is m",
                                        "inbound.0.url: is m", "inbound.0.numbr: there is no"]),
        ("[number_lookup]\nurll = 1", ["number_lookup.url: is m", "number_lookup.urll: there is"]),
        (
            '[[carriers]]\nname = "telia"\nhosts = []\nsystem_id = "us"\npassword = "x"\n',
            ["carriers.0.hosts: name at least one, as host:port"],
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_what_would_be_right(said, content, faults):
    found = said(content)
    assert len(found) == len(faults)
    for line, fault in zip(found, faults, strict=True):
        assert line.startswith(fault)
        assert "Input should" not in line
        assert "Field required" not in line

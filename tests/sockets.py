"""Listeners of tests."""

from __future__ import annotations

import socket


def listening(port: int) -> socket.socket:
    """Somebody who listens on a port of the loopback interface, and accepts nobody.

    Takes the port though connections of an earlier listener are still fading there, which
    `Ports.free` counts as free.
    """
    return socket.create_server(("127.0.0.1", port))

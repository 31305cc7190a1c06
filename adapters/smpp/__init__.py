"""The carrier mesh over SMPP 3.4: the bind pool and everything that it stands on."""

"""The processes of Hermes, one module each, as in `python -m infra.processes.endpoint`."""

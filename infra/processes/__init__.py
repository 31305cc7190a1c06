"""The processes of Hermes, one module each: `python -m infra.processes.endpoint`, …"""

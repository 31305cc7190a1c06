"""The local stack: every process of Hermes on one machine, with simulators as the other side."""

"""An adapter's test vectors, played through the real runtime: `run(directory)`."""

from adapters.wasm.testing.play import Result
from adapters.wasm.testing.runner import Run, run
from adapters.wasm.testing.vectors import Vector, VectorsError, read_vectors

__all__ = ["Result", "Run", "Vector", "VectorsError", "read_vectors", "run"]

"""HTTP providers as sandboxed WASM components: the contract, the host, and the adapters."""

"""The terminal: progress and its displays, signals, and the command line as it was typed.

Nothing is imported here, so that `dgm-jax list` and help texts need no JAX: import the modules.
"""

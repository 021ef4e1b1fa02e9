"""What a person sees and types: progress, its displays, signals, and the command line as typed.

Nothing is imported here, so that `dgm-jax list` and help need no JAX: import the modules.
"""

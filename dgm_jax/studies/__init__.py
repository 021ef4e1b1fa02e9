"""What several experiments share: the only room that may put all others together.

A study turns a configuration into a task (model + optimizers + data + evaluation). It holds no
mathematics and no engine, and nothing but experiments and tests imports it.
"""

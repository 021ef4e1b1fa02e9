"""The inputs and the task of an experiment, as the launcher makes them of its settings."""


def inputs_of(experiment, config):
    """What `load` gives for a configuration; nothing that is needed has been trained."""
    functions, settings = experiment.functions, experiment.data_view(config)
    return functions.load(settings, (None,) * len(functions.needs(settings)))


def task_of(experiment, config, inputs=None):
    """What `build` makes of it, with plain numbers."""
    seen, hyper = experiment.build_view(config)
    inputs = inputs_of(experiment, config) if inputs is None else inputs
    return experiment.functions.build(seen, hyper, inputs)

"""A discrete-event simulation of many machines: `python -m bench.simulate`."""

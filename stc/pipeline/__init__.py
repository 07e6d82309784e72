"""Stages and the graph they form: the contract of a stage, from YAML to a graph, and the runner that evaluates it."""

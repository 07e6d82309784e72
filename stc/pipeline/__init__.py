"""Stages and pipelines: the interface of a stage, from YAML to a graph, and the runner that evaluates the graph."""

"""Metrics of translated text: each file defines one :class:`stc.metrics.metric.Metric`, named as the file."""

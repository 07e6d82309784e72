"""Batched greedy decoding, used by every stage that translates."""

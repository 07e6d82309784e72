"""The block of layers with the smallest angle between input and output (Gromov et al. 2024, arXiv 2403.17887).

The stage ``one_shot`` in ``block_influence.py`` finds it.
"""

from __future__ import annotations

from stc.pruning import ByRatio


class Angular(ByRatio):
    """Remove one block of layers from each stack."""

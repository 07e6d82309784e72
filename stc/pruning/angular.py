"""The block of layers whose input and output are at the smallest angle (Gromov et al. 2024, arXiv 2403.17887).

The stage ``one_shot`` in ``block_influence.py`` finds it.
"""

from __future__ import annotations

from stc.pruning import ByRatio


class Angular(ByRatio):
    """Remove one block of layers of each stack."""

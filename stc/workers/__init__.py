"""One stage in several processes, on the GPUs of one machine or on its cores.

A run is one process. A stage that can share out its work is :class:`stc.workers.stage.ParallelStage`; where
``resources.processes`` is more than one, it starts so many with torchrun (``launch.py``), which compute
(``__main__.py``, ``worker.py``) and tell it what they find. It writes down results, metrics and progress as if it had
found them itself, and whatever way it ends, so do they.

Nothing of this is part of an identity: a result is the same, to rounding, whatever the number of processes.
"""

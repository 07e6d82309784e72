"""One stage in several processes, on the GPUs of one machine or on its cores.

A run is one process. A stage whose work can be shared is a :class:`stc.workers.stage.ParallelStage`. Where
``resources.processes`` is more than one, the run starts that many workers with torchrun (``launch.py``). They compute
(``__main__.py``, ``worker.py``) and send what they find. The run writes down results, metrics and progress as if it had
found them itself. Whatever way the run ends, its workers end too.

None of this is part of an identity: a result is the same, to rounding, whatever the number of processes.
"""

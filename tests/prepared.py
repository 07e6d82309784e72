"""What :class:`processes.Command` starts with: the libraries, and what commands of stc import sooner or later."""

import gc
from importlib import import_module

gc.disable()  # imports make objects by the million, and none of them is ever given back
import_module("stc.tracking.destination").mlflow_client("http://nowhere")  # says first how MLflow is to log
import_module("stc.models.load_and_save").import_transformers()
for name in (
    "bitsandbytes",
    "matplotlib.figure",
    "mlflow.store.tracking.sqlalchemy_store",
    "peft",
    "stc.decoding.greedy",
    "stc.jobs.sweep",
    "stc.planning.preflight",
    "stc.training.fine_tuning",
    "transformers.models.qwen2_audio.modeling_qwen2_audio",
    "transformers.models.qwen2_audio.processing_qwen2_audio",
):
    import_module(name)
gc.freeze()  # so that no command looks through them
gc.enable()

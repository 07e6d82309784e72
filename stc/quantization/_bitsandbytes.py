"""The base class of the methods that bitsandbytes computes."""

from __future__ import annotations

from stc.quantization import Quantizer


class BitsAndBytes(Quantizer):
    LIBRARY = "bitsandbytes"
    VLLM = "bitsandbytes left vLLM for vllm-bnb-plugin 0.0.3, which refuses a model without packed_modules_mapping"

"""Speech translation compression: make a large speech-translation model small, and show what it cost."""

__version__ = "0.1.0"

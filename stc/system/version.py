"""The version of stc."""

VERSION = "0.1.0"

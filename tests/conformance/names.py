"""The names of all hosts and all checks, in the order of the table."""

from __future__ import annotations

from typing import Final

from tests.conformance import checks

__all__ = ["CHECKS", "FAKES", "HOSTS"]

#: The columns of the table: what runs in a cell, and what is done from outside.
CHECKS: Final = (*checks.CHECKS, "a reload", "a second page", "a restart")

#: The hosts that are really there.
HOSTS: Final = (
    "Node, port",
    "JupyterLab, port",
    "Notebook 7, port",
    "NbClassic, port",
    "marimo, port",
    "JupyterLab, proxy",
    "Notebook 7, proxy",
    "NbClassic, proxy",
    "JupyterLab, comm",
    "JupyterLab, comm without subshells",
    "Notebook 7, comm",
    "NbClassic, comm",
    "marimo, comm",
)

#: The fake hosts, by what they do otherwise than Jupyter.
FAKES: Final = (
    "nothing",
    "a page gets `Uint8Array`s",
    "a page gets parts of larger `Uint8Array`s",
    "a page gets `ArrayBuffer`s of another window",
    "both sides get Base64",
    "messages above 5 MB vanish",
    "messages above 1,000 a second vanish",
    "a message vanishes",
    "a message is overtaken",
    "the kernel hears nothing while a cell computes",
    "the kernel hears nothing while a cell runs",
    "a page hears nothing of a restart",
)

"""`signalcompat list`: every requirement in one line."""

from __future__ import annotations

import argparse

NAME = "list"
HELP = "list every requirement, one a line"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Takes none."""


def run(options: argparse.Namespace) -> int:
    from ..scenarios import CATALOGUE

    for scenario in CATALOGUE:
        print(f"{scenario.code}  {scenario.level.upper():6}  {scenario.slug:26}  {scenario.requirement}")
    return 0

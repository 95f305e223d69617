"""Command line ``zfit-egmm``."""

from __future__ import annotations

import os
import sys

WORDS = {
    "choose another folder, or replace": "choose another folder with --out, or replace",
    "overwrite=True (--overwrite)": "--overwrite",
    "kind='continuous'": "kind: continuous",
    "leave its size to be chosen": "leave its size to be chosen (no 'network' in 'training: model')",
    "look at zfit_egmm.inference.fit(loss), and give": "look at zfit-egmm fit, and give",
    "workers=1": "--workers 1",
}
"""Phrases of the library that speak Python, and what they mean on the command line."""


def main() -> None:
    """Run ``zfit-egmm``; errors of the user come without a traceback, unless ZFIT_EGMM_DEBUG is set."""
    # Set before TensorFlow and zfit are imported: their start-up messages help nobody here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("ZFIT_DISABLE_TF_WARNINGS", "1")

    from zfit_egmm.cli.app import app

    if os.environ.get("ZFIT_EGMM_DEBUG"):
        app()
        return
    try:
        app()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201
        sys.exit(130)
    except Exception as error:
        print(f"error: {_in_words(error)}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


def _in_words(error: Exception) -> str:
    """What went wrong, in terms of the command line."""
    text = str(error)
    for python, words in WORDS.items():
        text = text.replace(python, words)
    if not isinstance(error, (ValueError, OSError, KeyError, ArithmeticError, RuntimeError)):
        text = f"{text or type(error).__name__} (this was not expected; ZFIT_EGMM_DEBUG=1 shows where it happened)"
    return text

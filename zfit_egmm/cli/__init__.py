"""Command line ``zfit-egmm``."""

from __future__ import annotations

import os
import sys


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
    except (ValueError, OSError, KeyError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)

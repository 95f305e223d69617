"""Sessions around the checks of the repository: ``nox`` lists nothing and runs the quick ones, ``nox -l`` lists all."""

from __future__ import annotations

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "uv|virtualenv"

PYTHONS = ["3.10", "3.11", "3.12", "3.13"]


@nox.session
def lint(session: nox.Session) -> None:
    """Style, layers and types."""
    session.install(".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")
    session.run("mypy")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests of the README; arguments after ``--`` go to pytest."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, in ``docs/_build``."""
    session.install(".[docs]")
    session.run("python", "-m", "sphinx", "-nW", "--keep-going", "-q", "-b", "html", "docs", "docs/_build")


@nox.session(python="3.10", venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """The tests with the lowest versions of what ``pyproject.toml`` asks for."""
    session.install("--resolution", "lowest-direct", ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def development(session: nox.Session) -> None:
    """The tests with versions to come: ``nox -s development -- zfit hepstats`` takes their pre-releases.

    A path or an address of a checkout works as well. The first failure is usually in ``zfit_egmm/zfit_compat.py``, the
    one place that knows private parts of zfit and hepstats.
    """
    session.install(".[test]")
    session.install("--pre", "--upgrade", "--no-deps", *(session.posargs or ["zfit", "hepstats"]))
    session.run("python", "-m", "pytest", "tests/test_zfit_compat.py", "tests/zfit_conformity", "tests/inference")


@nox.session
def ci(session: nox.Session) -> None:
    """Everything that must pass on main."""
    session.run(".ci/run", external=True)

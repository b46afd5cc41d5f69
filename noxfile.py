"""The tasks of the project, each in the environment that is active: ``nox --list`` names them.

``pip install -e ".[dev]"`` first; with ``[dev,clients]`` the tests run programs of others, too.
``nox`` alone runs what must pass before anything lands.
"""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "none"
nox.options.stop_on_first_error = True
nox.options.sessions = ["lint", "types", "spelling", "wheel", "tests"]


@nox.session
def lint(session: nox.Session) -> None:
    """Rules and layout of the code (ruff)."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types of the packages (mypy, strict), as here and as on Windows."""
    session.run("mypy")
    session.run("mypy", "--platform", "win32", "--cache-dir", ".mypy_cache/win32")


@nox.session
def spelling(session: nox.Session) -> None:
    """Common misspellings in code and documents (codespell)."""
    session.run("codespell")


@nox.session
def wheel(session: nox.Session) -> None:
    """Source distribution and wheel, into dist/."""
    session.run("python", "-m", "hatchling", "build", "--clean", "--directory", "dist")


@nox.session
def docs(session: nox.Session) -> None:
    """The documents as a site, into build/site; a link that leads nowhere is an error."""
    session.run("bash", "tools/docs.sh", *session.posargs)


@nox.session
def quick(session: nox.Session) -> None:
    """Tests without those marked live; more arguments after ``--``."""
    session.run("pytest", "-m", "not live", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Which lines and branches the quick tests reach, child processes included."""
    session.run("pytest", "--cov", "-m", "not live", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Every test but those of hours (``-m soak``, tools/soak.sh)."""
    session.run("pytest", *session.posargs)

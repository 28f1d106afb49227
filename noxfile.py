"""`nox -l` lists what there is; `nox` runs the default tier on every Python found, and the checks."""

import nox

nox.options.sessions = ["tests", "checks", "docs"]
nox.options.reuse_existing_virtualenvs = True


@nox.session(python=["3.10", "3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """The default tier."""
    session.install("-e", ".[dev]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def checks(session: nox.Session) -> None:
    """Lint, format, types, floors."""
    session.install("-e", ".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports", "--no-cache")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, and run every block of it."""
    session.install("-e", ".[dev,docs]")
    session.run("python", "-m", "pytest", "-m", "", "tests/test_docs.py")
    session.run("mkdocs", "build", "--strict", "-d", session.create_tmp())


@nox.session(python=["3.13", "3.14"])
def nemo_gym(session: nox.Session) -> None:
    """The adapter to NeMo-Gym in the real package, which asks for Python 3.13.14 or later."""
    session.install("-e", ".[nemo_gym]", "pytest", "hypothesis")
    session.run("python", "-m", "pytest", "tests/test_adapters_environments.py", "-k", "nemo")


@nox.session
def bounds(session: nox.Session) -> None:
    """Whether each extra installs and passes at both ends of its bounds; half an hour. See `benchmarks/bounds.py`."""
    session.install("packaging")
    session.run("python", "-m", "benchmarks.bounds", *session.posargs)


@nox.session
def ci(session: nox.Session) -> None:
    """All that CI runs, the slow tier included; an hour."""
    session.run("bash", ".ci/run", external=True)

"""Sessions for developers; .ci/run is what decides whether a change lands. `nox -l` lists them."""

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.reuse_existing_virtualenvs = True


def install(session: nox.Session) -> str:
    """Install the project with what its tests need; returns the root, which commands are run outside of."""
    root = str(session.invoked_from)
    session.install("-e", ".[test]")
    return root


@nox.session
def tests(session: nox.Session) -> None:
    """The quick tests; arguments go to pytest."""
    install(session)
    session.run("pytest", *session.posargs)


@nox.session
def oldest(session: nox.Session) -> None:
    """The quick tests on the lower bounds of pyproject.toml, all at once; some 7 GB, since torch's oldest wheel brings CUDA."""
    session.install("uv")
    session.run(
        "uv",
        "pip",
        "install",
        "--python",
        session.virtualenv.location,
        "--resolution",
        "lowest-direct",
        "-e",
        ".[test]",
    )
    session.run("pytest", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """The long tests: clusters, sweeps, kills, real data, a browser."""
    install(session)
    session.run("pytest", "-m", "slow", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Kills, damage and hostile inputs: nox -s faults -- --kills 200 --inputs 1000 --faults-seed 1."""
    install(session)
    session.run("pytest", "tests/faults", "-m", "slow", "-s", "-n", "0", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff's lint and format, without changing a file, and links between the repository's files."""
    session.install("ruff", "mdlinkcheck")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mdlinkcheck")


@nox.session
def types(session: nox.Session) -> None:
    """Types, by mypy, outside the root; installed plainly, since mypy does not follow an editable installation."""
    root = str(session.invoked_from)
    session.install(".[test]")
    session.chdir(session.create_tmp())
    session.run("mypy", "--config-file", f"{root}/pyproject.toml", "-p", "qbench")


@nox.session
def site(session: nox.Session) -> None:
    """The site, in build/site, its tutorials run; a warning is an error. Arguments go to sphinx-build."""
    session.install("-e", ".[docs]")
    options = ["-j", "2", "-W", "--keep-going", "-c", "docs"]
    session.run("python", "-P", "-m", "sphinx", *options, ".", "build/site", *session.posargs)


@nox.session
def links(session: nox.Session) -> None:
    """Every link of the site that leads outside, followed: needs a network, and minutes. `lint` has those within."""
    session.install("-e", ".[docs]")
    options = ["-b", "linkcheck", "-D", "nb_execution_mode=off", "-c", "docs"]
    session.run("python", "-P", "-m", "sphinx", *options, ".", "build/links", *session.posargs)


@nox.session
def board(session: nox.Session) -> None:
    """Make the committed board again: nox -s board -- HER2ST_DIR [WORK]."""
    install(session)
    session.run("bash", ".ci/board", *session.posargs, external=True)


@nox.session
def gpu(session: nox.Session) -> None:
    """The tests on a GPU, and what it makes of the networks as a table for docs/performance.md: ten minutes on one card."""
    root = install(session)
    session.chdir(session.create_tmp())
    session.run("pytest", "-n", "0", "-m", "gpu", "-c", f"{root}/pyproject.toml", f"{root}/tests/gpu")
    session.run("python", "-P", f"{root}/.ci/gpu.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """What qbench's speed is beside plain code, on this machine."""
    install(session)
    session.chdir(session.create_tmp())
    session.run("qbench", "bench", *session.posargs)

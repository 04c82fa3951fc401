"""The plugin that pytest loads: tests follow the lock of pytest's root, whatever the working directory is."""

import os

from datapkg import code_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pytest


def pytest_configure(config: "pytest.Config") -> None:
    """Let the lock be looked for from pytest's root upwards."""
    code_folder.push_test_root(_root(config))


def pytest_unconfigure() -> None:
    """Look for it from where it was looked for before."""
    code_folder.pop_test_root()


def _root(config: "pytest.Config") -> str:
    """Return pytest's root, or the folder of the tests if nothing but the working directory made it the root.

    Without a file that configures it, pytest takes what is above the working directory and its arguments, which says
    nothing about the project of the tests.
    """
    if config.inipath is not None or config.getoption("rootdir", None):
        return str(config.rootpath)
    here = str(config.invocation_params.dir)
    paths = [os.path.join(here, each.split("::")[0]) for each in config.args]
    folders = [path if os.path.isdir(path) else os.path.dirname(path) for path in paths if os.path.exists(path)]
    return os.path.commonpath(folders) if folders else str(config.rootpath)

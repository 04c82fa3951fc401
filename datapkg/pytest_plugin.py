"""The plugin that pytest loads: tests follow the lock of pytest's root, whatever the working directory is."""

from datapkg import code_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pytest


def pytest_configure(config: "pytest.Config") -> None:
    """Let the lock be looked for from pytest's root upwards."""
    code_folder.push_test_root(str(config.rootpath))


def pytest_unconfigure() -> None:
    """Look for it from where it was looked for before."""
    code_folder.pop_test_root()

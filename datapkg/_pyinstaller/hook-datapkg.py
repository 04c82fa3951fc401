"""The modules that a frozen program needs and that PyInstaller cannot find.

Their names are made at run time: `datapkg.data` is extended by what is installed, and commands and adapters are
imported by name.
"""

from PyInstaller.utils.hooks import collect_submodules, copy_metadata

# `collect_submodules` passes over a package without a path of its own.
hiddenimports = ["datapkg.data", *collect_submodules("datapkg", filter=lambda name: "_pyinstaller" not in name)]
# A build records the versions of these; `fsspec` finds `datapkg://` by the entry point.
datas = [
    *copy_metadata("datapkg"),
    *(each for name in ("pandas", "pyarrow", "numpy", "python-calamine") for each in copy_metadata(name)),
]

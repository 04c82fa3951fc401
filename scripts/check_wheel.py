"""Build the wheel and fail if a file is missing in it; with --install, also if it does not run on its own."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("datapkg", "registry_server")


def main() -> int:
    """Runs the checks and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--install", action="store_true", help="install it into an empty environment and run it")
    install = parser.parse_args().install
    with tempfile.TemporaryDirectory(prefix="datapkg-wheel-") as folder:
        wheel = build(Path(folder))
        if lacking := files_of_ours() - set(zipfile.ZipFile(wheel).namelist()):
            print("The wheel lacks:", *sorted(lacking), "Name them in package_data of setup.cfg.", sep="\n  ")
            return 1
        if install:
            run_in_empty_environment(wheel, Path(folder) / "environment")
    print(f"{wheel.name} holds all files of {' and '.join(PACKAGES)}{' and runs in an empty environment' * install}")
    return 0


def build(folder: Path) -> Path:
    """The wheel, built by way of a source distribution, as a release is."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout)
    return next(folder.glob("*.whl"))


def files_of_ours() -> set[str]:
    """Every file below our packages, caches left out, as a path in the wheel."""
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in paths if "__pycache__" not in path.parts}


def run_in_empty_environment(wheel: Path, environment: Path) -> None:
    """Installs the wheel alone and runs the client; adds the extra `server` and runs the registry."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    programs = environment / "bin"

    def pip(*words: str) -> None:
        command = [sys.executable, "-m", "pip", "--quiet", "--python", str(programs / "python"), *words]
        subprocess.run(command, check=True)

    def run(*words: str) -> None:
        print("  " + " ".join(words), flush=True)
        subprocess.run([programs / words[0], *words[1:]], check=True, cwd=environment, stdout=subprocess.DEVNULL)

    pip("install", str(wheel))
    run("datapkg", "--version")
    run("datapkg", "--help")
    run("python", "-m", "datapkg", "--help")
    run("python", "-c", "import datapkg; [getattr(datapkg, name) for name in datapkg.__all__]")
    run("python", "-c", "import datapkg.remote.http_client")  # with what is the registry's alone not there
    pip("install", f"{wheel}[fsspec]")
    run("python", "-c", "import fsspec; fsspec.filesystem('datapkg').ls('')")
    pip("install", f"{wheel}[server]")
    run("datapkg-registry", "--help")
    run("python", "-c", "from registry_server.services.client_wheel import client_wheel; assert client_wheel()")
    pip("check")


if __name__ == "__main__":
    sys.exit(main())

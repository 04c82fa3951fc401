"""The registry as a Python package index: each package that the actor may read is a project with its thin wheels.

What the actor may not see is not found, in the same words as what does not exist.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass

from sqlalchemy import Connection

from datapkg.errors import CorruptObject, NotFound, PackageNotFound
from datapkg.format import simple_index
from datapkg.format.hashing import hash_bytes
from datapkg.format.simple_index import METADATA_SUFFIX, IndexFile
from datapkg.format.texts import quoted
from datapkg.format.thin_wheel import distribution_name, package_of, wheel_version
from registry_server.db import events, numbers, packages, states, wheels
from registry_server.db.packages import PackageRow
from registry_server.db.wheels import Wheel
from registry_server.services import index_pages, policy
from registry_server.services.downloads import Served
from registry_server.services.index_pages import IndexPage, NewestPages, Shown, in_pieces, page_of
from registry_server.services.policy import Actor, PackageRequest
from registry_server.services.registry import Registry
from registry_server.services.wheels import build_missing

FILE_END = "-py3-none-any.whl"


@dataclass(frozen=True)
class Project:
    """A package that the actor may read, as a project; `key` differs after every change of the package."""

    registry: Registry
    package: PackageRow
    key: str

    @property
    def name(self) -> str:
        """The normalized name of the distribution."""
        return distribution_name(self.package.full_name)


def find_project(registry: Registry, actor: Actor, name: str) -> Project:
    """Return a project by its name; raise `NotFound`."""
    with registry.db.read() as connection:
        package = _find(connection, registry, actor, name)
        # Every change of a package is an event about it.
        return Project(registry, package, f"{package.id} {events.last_about(connection, package.full_name)}")


def _find(connection: Connection, registry: Registry, actor: Actor, project: str) -> PackageRow:
    package = package_of(project)
    if package is not None:
        user, _, name = package.partition("/")
        try:
            return policy.readable(connection, PackageRequest(registry, actor, user, name))
        except PackageNotFound:
            pass
    raise _not_found(project)


def _not_found(project: str) -> NotFound:
    return NotFound(f"project {quoted(project)} not found, or you lack access")


def project_page(project: Project, newest: NewestPages, *, as_json: bool) -> IndexPage:
    """Return the page of a project, which becomes the newest one; wheels that are missing are built first."""
    name = page_name(project, as_json=as_json)
    if page := newest.find(name, project.key):
        return page
    page, is_complete = _written(project, newest.find(name), as_json=as_json)
    if not is_complete:
        build_missing(project.registry, project.package.id, project.package.full_name)
        page, _ = _written(project, page, as_json=as_json)
    newest.keep(name, project.key, page)
    return page


def page_name(project: Project, *, as_json: bool) -> str:
    """Return the name under which the page of a project is kept."""
    return f"{as_json} {project.name}"


def projects_page(registry: Registry, actor: Actor, *, as_json: bool) -> IndexPage:
    """Return the page that lists all projects."""
    with registry.db.read() as connection:
        names = [distribution_name(name) for name in packages.names(connection, actor.id)]
    return page_of([(simple_index.projects_json if as_json else simple_index.projects_html)(names)])


def _written(project: Project, before: IndexPage | None, *, as_json: bool) -> tuple[IndexPage, bool]:
    """Return the page after the page before, and whether all wheels are built."""
    package, stem = project.package, _stem(project.package.full_name)
    with project.registry.db.read() as connection:

        def find(shown: Shown) -> dict[str, IndexFile]:
            found = wheels.named(connection, package.user, package.name, [version for version, _ in shown])
            return {each.version: _file(stem, each) for each in found}

        shown = _shown(connection, package)
        page = index_pages.write_project(project.name, shown, find, as_json=as_json, before=before)
    return page, len(page.rows) == len(shown)


def _shown(connection: Connection, package: PackageRow) -> list[Shown]:
    """Return the wheels of each state, by number, then of each version, as they were given.

    Of a package with many versions this takes most of the time, so it reads as little as it can.
    """
    given: dict[str, list[str | None]] = {}
    of_versions: dict[str, str | None] = {}
    for version, hash, yanked in states.versions_as_given(connection, package.id):
        given.setdefault(hash, []).append(yanked)
        of_versions[wheel_version(version, 0, hash)] = yanked
    of_states = {
        wheel_version(None, number, hash): _yanked(given.get(hash, []))
        for hash, number in wheels.states_of(connection, package.id)
    }
    return in_pieces(of_states.items()) + in_pieces(each for each in of_versions.items() if each[0] not in of_states)


def _yanked(given: list[str | None]) -> str | None:
    """Return why a state is yanked: all versions that it has are."""
    return next(iter(given)) if given and None not in given else None


def _file(stem: str, wheel: Wheel) -> IndexFile:
    name = stem + wheel.version + FILE_END
    return IndexFile(
        version=wheel.version,
        file_name=name,
        address=simple_index.address_of(name),
        sha256=wheel.object,
        size=wheel.size,
        metadata=wheel.metadata,
        requires_python=wheel.requires_python,
        uploaded_at=simple_index.time_text(wheel.built_at),
    )


def file_path(package: str, version: str) -> str:
    """Return the URL path of the wheel of a package with this version."""
    project = distribution_name(package)
    return f"/simple/{project}/{simple_index.address_of(_stem(package) + version + FILE_END)}"


def _stem(package: str) -> str:
    """Return what the names of all wheels of a package begin with."""
    return distribution_name(package).replace("-", "_") + "-"


def find_file(registry: Registry, actor: Actor, project: str, file_name: str) -> Served | bytes:
    """Return a wheel of a project, or its core metadata for the name with `METADATA_SUFFIX`; raise `NotFound`."""
    name = file_name.removesuffix(METADATA_SUFFIX)
    with registry.db.read() as connection:
        package = _find(connection, registry, actor, project)
        start = _stem(package.full_name)
        version = name.removeprefix(start).removesuffix(FILE_END)
        wheel = wheels.find(connection, package.user, package.name, version) if name.startswith(start) else None
        # The name again, since `removesuffix` accepts one without this end.
        if wheel is None or name != f"{start}{version}{FILE_END}" or not _is_current(connection, package, wheel):
            raise NotFound(f"file {quoted(file_name)} of {quoted(project)} not found, or you lack access")
    served = Served(wheel.object, wheel.size, package.public, registry)
    return served if name == file_name else _metadata(served, wheel)


def _is_current(connection: Connection, package: PackageRow, wheel: Wheel) -> bool:
    """Return whether the package has the state of a wheel, and its version or number, since it was created last."""
    number = numbers.of_state(connection, package.id, wheel.state)
    if number is None:
        return False
    if wheel.version == wheel_version(None, number, wheel.state):
        return True
    given = states.names_of(connection, package.id, [wheel.state])[1].get(wheel.state, [])
    return any(wheel.version == wheel_version(each, number, wheel.state) for each in given)


def _metadata(served: Served, wheel: Wheel) -> bytes:
    """Return the core metadata out of a wheel; raise `CorruptObject`."""
    with zipfile.ZipFile(io.BytesIO(served.read())) as archive:
        name = next(each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        data = archive.read(name)
    if hash_bytes(data) != wheel.metadata:
        raise CorruptObject("the registry's metadata of a wheel is damaged", hash=wheel.object)
    return data

"""Checks that tables hold the content that their manifests state: once, in a worker, when they are published."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection

from datapkg.errors import CorruptObject, HashMismatch
from datapkg.format.manifest.claim_key import claim_key
from datapkg.format.manifest.diff import changed
from datapkg.format.manifest.mapped import MappedManifest
from datapkg.format.manifest.parsed import Manifest, Node, TableNode
from datapkg.format.manifest.patch import read_manifest
from datapkg.format.texts import first_lines, quoted
from registry_server.db import checks, states
from registry_server.db.states import StateRow
from registry_server.services import downloads, policy
from registry_server.services.policy import Actor
from registry_server.services.registry import Registry

MAX_NAMED = 10


@dataclass(frozen=True)
class ContentCheck:
    """The result for a state: the keys of tables newly found right, and the paths of those that were not checked."""

    keys: list[str]
    unchecked: list[str]

    @property
    def unchecked_text(self) -> str:
        """The paths as the database stores them."""
        return json.dumps(self.unchecked)


@dataclass(frozen=True)
class CheckPlan:
    """The tables to check, and the paths of those that an earlier state left unchecked."""

    tables: list[TableNode]
    unchecked: list[str]


def plan(
    connection: Connection, manifest: Manifest, older: MappedManifest | None = None, before: StateRow | None = None
) -> CheckPlan:
    """Return the tables that were never verified; results for `older`, the manifest of `before`, are reused."""
    paths = before.unchecked_paths if before is not None else None
    if older is None or paths is None:
        return CheckPlan(_unknown(connection, manifest.table_nodes()), [])
    gone, new = changed(older, manifest)
    return CheckPlan(_unknown(connection, new.values()), [path for path in paths if path not in gone])


def _unknown(connection: Connection, nodes: Iterable[Node]) -> list[TableNode]:
    tables = [(claim_key(node), node) for node in nodes if isinstance(node, TableNode)]
    known = checks.known(connection, {key for key, _ in tables})
    return [table for key, table in tables if key not in known]


@dataclass(frozen=True)
class FalseTable:
    """A table whose values differ from what a state of its package states."""

    package: str
    state: str
    path: str
    reason: str


@dataclass(frozen=True)
class Rechecked:
    """The result for all states: `tables` counts the tables that were read, `unchecked` those that could not be."""

    tables: int
    unchecked: int
    false: list[FalseTable]


def recheck(registry: Registry, actor: Actor) -> Rechecked:
    """Check the tables of all states that were never verified, and update which tables of each state are unchecked."""
    policy.check_operator(actor, "registry:check")
    tables = unchecked = 0
    false: list[FalseTable] = []
    with registry.db.read() as connection:
        all_states = states.all_of(connection)
    for package_id, package, hash in all_states:
        try:
            manifest = read_manifest(downloads.map_checked(registry, hash), hash)
        except CorruptObject:
            continue
        with registry.db.read() as connection:
            wanted = plan(connection, manifest).tables
        found = registry.checker.check("", wanted)
        with registry.db.write() as connection:
            checks.keep(connection, {claim_key(table) for table in found.right}, registry.now())
            states.set_unchecked(connection, package_id, hash, sorted({*found.unchecked, *found.false}))
        tables += len(wanted) - len(found.unchecked)
        unchecked += len(found.unchecked)
        false += [FalseTable(package, hash, path, why) for path, why in found.false.items()]
    return Rechecked(tables, unchecked, false)


def check(registry: Registry, user: str, planned: CheckPlan) -> ContentCheck:
    """Check the tables; raise `HashMismatch` naming those whose values differ from the manifest."""
    found = registry.checker.check(user, planned.tables)
    if found.false:
        lines = first_lines([f"{quoted(path)}: {why}" for path, why in found.false.items()], MAX_NAMED, indent="\n  ")
        what = "a table does" if len(found.false) == 1 else f"{len(found.false):,} tables do"
        raise HashMismatch(
            f"{what} not hold the values that the manifest states; nothing was published:{''.join(lines)}",
            hint="`datapkg verify --content` names the tables; build them again from their sources, and push",
            paths=list(found.false)[:MAX_NAMED],
        )
    return ContentCheck(
        sorted({claim_key(table) for table in found.right}), sorted({*planned.unchecked, *found.unchecked})
    )

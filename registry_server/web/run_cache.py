"""Run caches over HTTP: ask for the results of stages, and add some."""

from __future__ import annotations

from fastapi import APIRouter

from datapkg.format import run_cache_wire
from registry_server.services import run_cache
from registry_server.web.dependencies import ThePackage, ThePush
from registry_server.web.schemas import Reply, Sent

router = APIRouter(tags=["run cache"])


@router.post(run_cache_wire.STAGES_FIND)
def find(package: ThePackage, wanted: Sent[run_cache_wire.StageKeys]) -> Reply[run_cache_wire.StageHits]:
    """Return the results of stages that the run cache of the package has for these keys."""
    return run_cache.find(package, wanted)


@router.post(run_cache_wire.PUSH_STAGES)
def keep(push: ThePush, wanted: Sent[run_cache_wire.StageEntries]) -> Reply[run_cache_wire.StagesKept]:
    """Add results of stages, whose objects were sent in this push, to the run cache of the package."""
    return run_cache.keep(push, wanted)

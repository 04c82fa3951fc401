"""States whose tables do not have the content that their manifest states, as from a malicious publisher or registry."""

from __future__ import annotations

import io

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datapkg.format import push_wire
from datapkg.format.manifest.parsed import Block, Manifest, TableNode
from datapkg.format.names import Ref
from datapkg.home import Home


def tables(home: Home, hash: str) -> dict[str, TableNode]:
    """Return the tables of a state by their paths."""
    return {node.path: node for node in home.store.manifest(hash).nodes if isinstance(node, TableNode)}


def values(home: Home, table: TableNode) -> pa.Table:
    """Return the actual rows in the objects of a table."""
    return pa.concat_tables(pq.read_table(home.store.objects.open(block.hash)) for block in table.blocks)


def stored(home: Home, rows: pa.Table, notes: dict[bytes, bytes] | None = None) -> Block:
    """Store rows as an object that datapkg's own writer would not write."""
    out = io.BytesIO()
    with pq.ParquetWriter(out, rows.schema, compression="none") as writer:
        writer.write_table(rows)
        writer.add_key_value_metadata(notes or {})
    data = out.getvalue()
    return Block(home.store.objects.put_bytes(data), len(rows), len(data))


def rewritten(home: Home, table: TableNode, *, swapped: bool) -> TableNode:
    """Return the same manifest line with objects of another writer; `swapped` ones hold other numbers."""
    blocks = []
    for block in table.blocks:
        rows = pq.read_table(home.store.objects.open(block.hash))
        if swapped:
            rows = rows.set_column(0, rows.schema.field(0), pc.add(rows.column(0), 1))
        footer = pq.ParquetFile(home.store.objects.open(block.hash)).metadata.metadata or {}
        notes = {key: value for key, value in footer.items() if key == b"datapkg.block"}
        blocks.append(stored(home, rows, notes))
    return msgspec.structs.replace(table, blocks=blocks)


def publish_rewritten(home: Home, ref: Ref, hash: str, *, swapped: bool) -> str:
    """Publish a state with the same stated content but other objects as the latest one, and return its hash."""
    before = home.store.manifest(hash)
    nodes = [rewritten(home, node, swapped=swapped) if isinstance(node, TableNode) else node for node in before.nodes]
    manifest = Manifest.make(nodes, before.meta)
    home.store.save(manifest)
    # Bypass the client's own comparison with the registry, which would report "same data".
    client = home.client()
    started = client.start_push(ref, manifest.hash, list(manifest.objects()))
    target = client.objects(ref, started.push)
    for each in {manifest.hash, *manifest.objects()} & {*started.missing}:
        with home.store.objects.open(each) as stream:
            target.put(stream, each)
    client.publish(ref, started.push, push_wire.Publish(manifest=manifest.hash, parent=started.latest, force=True))
    return manifest.hash

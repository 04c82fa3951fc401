"""The operations of datapkg: one verb per file, written in terms of the rooms below."""

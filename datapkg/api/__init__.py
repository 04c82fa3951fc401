"""The operations of datapkg: one verb per module, implemented with the rooms below."""

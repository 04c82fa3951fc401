"""Child processes that read what strangers sent: nothing else of the registry reads Parquet."""

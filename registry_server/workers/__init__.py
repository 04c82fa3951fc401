"""Child processes that read untrusted Parquet files; no other part of the registry reads Parquet."""

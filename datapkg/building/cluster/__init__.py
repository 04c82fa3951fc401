"""Builds on a Dask cluster: its workers read sources and run stages, and objects move by hash."""

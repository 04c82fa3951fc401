"""The mean sizes of each species."""

from pathlib import Path

import pandas as pd


def by_species(penguins: Path, means: Path) -> None:
    """Write the mean length of flippers and mean body mass of each species."""
    rows = pd.read_parquet(penguins)
    sizes = rows.groupby("species", observed=True)[["flipper_length_mm", "body_mass_g"]].mean().round(1)
    sizes.reset_index().to_csv(means, index=False)

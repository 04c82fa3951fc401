"""How each library stores a table in a folder and reads it back, as in the first example of its documentation."""

from __future__ import annotations

from dataclasses import dataclass, replace

OURS = "datapkg"
WARM = "warm copy"

# An interpreter that exits while an Arrow thread runs is occasionally aborted; exits are not measured.
END = "\nos._exit(0)\n"
START = """
import io, os, shutil, subprocess, sys
folder, columns = sys.argv[1], sys.argv[2].split(",")
"""


@dataclass(frozen=True)
class Way:
    """Code that stores `{folder}/table.parquet`, code that opens the stored table, and expressions on it."""

    store: str
    open: str
    about: str
    head: str
    two: str
    all: str

    def code(self, asked: str) -> str:
        """Return a program that opens the table and computes one answer."""
        return f"{START}{self.open}\nanswer = {asked}{END}"


_OURS = Way(
    store="""
import datapkg, pyarrow.parquet
datapkg.build('bench/load', {'table': pyarrow.parquet.read_table(f'{folder}/source.parquet')})""",
    open="from datapkg.data.bench import load as package",
    about="package.table.shape",
    head="package.table.head()",
    two="package.table(columns)",
    all="package.table()",
)
WAYS = {
    OURS: _OURS,
    WARM: replace(
        _OURS,
        store=f"""{_OURS.store}
from datapkg.api.cache import warm_tables
from datapkg.home import Home
warm_tables(Home(), datapkg.Ref.parse('bench/load'))""",
    ),
    "pandas": Way(
        store="",
        open="import pandas\npath = f'{folder}/table.parquet'",
        about="len(pandas.read_parquet(path, columns=[]))",
        head="pandas.read_parquet(path).head()",
        two="pandas.read_parquet(path, columns=columns)",
        all="pandas.read_parquet(path)",
    ),
    "datasets": Way(
        store="""
import datasets, pandas
frame = pandas.read_parquet(f'{folder}/table.parquet')
datasets.Dataset.from_pandas(frame, preserve_index=False).save_to_disk(f'{folder}/datasets')""",
        open="import datasets\ntable = datasets.load_from_disk(f'{folder}/datasets')",
        about="table.shape",
        head="table.select(range(5)).to_pandas()",
        two="table.select_columns(columns).to_pandas()",
        all="table.to_pandas()",
    ),
    "quilt3": Way(
        store="""
import quilt3
package = quilt3.Package().set('table.parquet', f'{folder}/table.parquet')
package.build('bench/load', registry=f'file://{folder}/quilt3')""",
        open="""
import quilt3
package = quilt3.Package.browse('bench/load', registry=f'file://{folder}/quilt3')
def some(data):
    import pandas
    return pandas.read_parquet(io.BytesIO(data), columns=columns)""",
        about="package['table.parquet'].size",
        head="package['table.parquet']().head()",
        two="package['table.parquet'](some)",
        all="package['table.parquet']()",
    ),
    "dvc": Way(
        store="""
os.mkdir(f'{folder}/dvc')
shutil.copy(f'{folder}/table.parquet', f'{folder}/dvc')
for command in ['init', '--no-scm'], ['add', 'table.parquet']:
    subprocess.run([sys.executable, '-m', 'dvc', *command, '-q'], cwd=f'{folder}/dvc', check=True)""",
        open="""
import dvc.api
def opened(read):
    with dvc.api.open('table.parquet', repo=f'{folder}/dvc', mode='rb') as file:
        return read(file)
def frame(file, columns=None):
    import pandas
    return pandas.read_parquet(file, columns=columns)""",
        about="opened(lambda file: file.seek(0, 2))",
        head="opened(frame).head()",
        two="opened(lambda file: frame(file, columns))",
        all="opened(frame)",
    ),
    "pins": Way(
        store="""
import pandas, pins
board = pins.board_folder(f'{folder}/pins')
board.pin_write(pandas.read_parquet(f'{folder}/table.parquet'), 'table', type='parquet')""",
        open="""
import pins
board = pins.board_folder(f'{folder}/pins')
def some():
    import pandas
    return pandas.read_parquet(board.pin_download('table')[0], columns=columns)""",
        about="board.pin_meta('table')",
        head="board.pin_read('table').head()",
        two="some()",
        all="board.pin_read('table')",
    ),
}

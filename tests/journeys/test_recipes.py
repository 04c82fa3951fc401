"""The gallery of recipes, run against a local server with files of the form of the originals."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from datapkg.api.build_and_push import build_and_push
from datapkg.building.spec.options import BuildOptions
from datapkg.errors import DatapkgError, IntegrityError
from datapkg.format.names import Ref
from tests.building.sources.git_server import GitServer, commit, git, git_server
from tests.http_server import Handler, serving
from tests.journeys.conftest import write
from tests.static_registry import Static

RECIPES = Path(__file__).resolve().parents[2] / "sample_packages" / "recipes"

# Lines in the form of the originals: quoting, missing values and odd codes are theirs, the numbers partly made up.
PENGUINS = """\
species,island,bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g,sex,year
Adelie,Torgersen,39.1,18.7,181,3750,male,2007
Adelie,Torgersen,39.5,17.4,186,3800,female,2007
Adelie,Torgersen,NA,NA,NA,NA,NA,2007
Gentoo,Biscoe,46.1,13.2,211,4500,female,2007
Chinstrap,Dream,46.5,17.9,192,3500,female,2007
"""
AIRPORTS = """\
"id","ident","type","name","latitude_deg","longitude_deg","elevation_ft","continent","iso_country","iso_region",\
"municipality","scheduled_service","icao_code","iata_code","gps_code","local_code","home_link","wikipedia_link","keywords"
6523,"00A","heliport","Total RF Heliport",40.070985,-74.933689,11,"NA","US","US-PA","Bensalem","no",,,"K00A","00A",\
"https://www.example.org/","",
3043,"FYWH","medium_airport","Hosea Kutako International Airport",-22.4799,17.4709,5640,"AF","NA","NA-KH","Windhoek",\
"yes","FYWH","WDH","FYWH",,,\
"https://en.wikipedia.org/wiki/Hosea_Kutako_International_Airport","Windhoek, \"\"JG\"\" Int."
2434,"EGLL","large_airport","London Heathrow Airport",51.4706,-0.461941,83,"EU","GB","GB-ENG","London","yes","EGLL",\
"LHR","EGLL",,"http://www.heathrowairport.com/","https://en.wikipedia.org/wiki/Heathrow_Airport","LON, Londres"
5,"SBXX","small_airport","Aeroporto São José",-10.5,-50.25,,"SA","BR","BR-TO","","no",,,,,,,
"""
COUNTRIES = """\
"id","code","name","continent","wikipedia_link","keywords"
302672,"US","United States","NA","https://en.wikipedia.org/wiki/United_States","America"
302558,"NA","Namibia","AF","https://en.wikipedia.org/wiki/Namibia",
302618,"GB","United Kingdom","EU","https://en.wikipedia.org/wiki/United_Kingdom","Great Britain"
302784,"BR","Brazil","SA","https://en.wikipedia.org/wiki/Brazil","Brasil, Brasilian airports"
"""
WINE = """\
"fixed acidity";"volatile acidity";"citric acid";"residual sugar";"chlorides";"free sulfur dioxide";\
"total sulfur dioxide";"density";"pH";"sulphates";"alcohol";"quality"
7.4;0.7;0;1.9;0.076;11;34;0.9978;3.51;0.56;9.4;5
7.8;0.88;0;2.6;0.098;25;67;0.9968;3.2;0.68;9.8;{quality}
"""
STATION = """\
ID,DATE,ELEMENT,DATA_VALUE,M_FLAG,Q_FLAG,S_FLAG,OBS_TIME
USW00094728,18690101,TMAX,-17,,,Z,
USW00094728,18690101,PRCP,191,,,Z,
USW00094728,20240101,TMAX,67,,,W,2400
USW00094728,20240101,PRCP,0,T,,W,2400
"""


def quakes(generated: int, depth: float = 7.5) -> bytes:
    """Return a feed; its own time is another at each call, as in the original."""
    places = [("us7000abcd", "10 km SSW of Idyllwild, CA", depth), ("ak0241", None, -1.2)]
    features = [
        {
            "type": "Feature",
            "properties": {"mag": 1.27, "place": place, "time": 1700000000000 + 1000 * n, "updated": 1700000100000,
                           "tz": None, "status": "automatic", "tsunami": 0, "ids": f",{id},", "magType": "ml",
                           "type": "earthquake", "title": f"M 1.3 - {place}"},
            "geometry": {"type": "Point", "coordinates": [-116.7 - n, 33.6, deep]},
            "id": id,
        }
        for n, (id, place, deep) in enumerate(places)
    ]  # fmt: skip
    metadata = {"generated": generated, "title": "USGS All Earthquakes, Past Day", "status": 200, "count": 2}
    return json.dumps({"type": "FeatureCollection", "metadata": metadata, "features": features}).encode()


def wines(quality: int) -> bytes:
    """Return the archive, with a folder entry and the time stamps that zip has."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("winequality-red.csv", WINE.format(quality=quality).replace("\n", "\r\n"))
        archive.writestr("winequality-white.csv", WINE.format(quality=6))
        archive.writestr("winequality.names", "Citation Request:\n  … vinho verde …\n".encode("latin-1", "replace"))
    return stream.getvalue()


# By recipe: the files at its addresses before and after a change; those of a repository begin with its path.
PALMER = "allisonhorst/palmerpenguins.git"
Files = dict[str, bytes]
ORIGINALS: dict[str, tuple[Files, Files]] = {
    "penguins": (
        {f"{PALMER}/inst/extdata/penguins.csv": PENGUINS.encode(), f"{PALMER}/README.md": b"# palmerpenguins\n"},
        {f"{PALMER}/inst/extdata/penguins.csv": PENGUINS.replace("4500", "4600").encode()},
    ),
    "airports": (
        {"airports.csv": AIRPORTS.encode(), "countries.csv": COUNTRIES.encode()},
        {"airports.csv": AIRPORTS.replace(",83,", ",84,").encode(), "countries.csv": COUNTRIES.encode()},
    ),
    "wine_quality": ({"wine+quality.zip": wines(5)}, {"wine+quality.zip": wines(8)}),
    "earthquakes": ({"all_day.geojson": quakes(1)}, {"all_day.geojson": quakes(2, depth=8.5)}),
    "central_park": (
        {"USW00094728.csv.gz": gzip.compress(STATION.encode(), mtime=0)},
        {"USW00094728.csv.gz": gzip.compress(STATION.replace(",67,", ",68,").encode(), mtime=0)},
    ),
}


@dataclass(frozen=True)
class Upstream:
    """The addresses of a web server, which answers as S3 does too, and of a server of git repositories."""

    address: str
    repositories: GitServer
    files: Files

    def publish(self, files: Files) -> None:
        """Put files at their addresses, or commit them."""
        for name, data in files.items():
            repository, is_in_one, path = name.partition(".git/")
            folder = self.repositories.folder / f"{repository}.git"
            if is_in_one:
                if not folder.exists():
                    folder.mkdir(parents=True)
                    git(folder, "init", "--quiet")
                write(folder, {path: data})
                commit(folder)
            else:
                self.files[name] = data

    def vanish(self) -> None:
        """Take everything away."""
        self.files.clear()
        for each in self.repositories.folder.iterdir():
            shutil.rmtree(each)


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    files: Files = {}

    class Origin(Handler):
        def do_GET(self) -> None:  # noqa: N802
            body = files.get(self.path.rpartition("/")[2])
            tag = f'"{hashlib.md5(body or b"").hexdigest()}"'
            headers = {"ETag": tag, "Last-Modified": "Mon, 30 Nov 2026 02:00:00 GMT"}
            self.answer(404 if body is None else 200, body or b"", headers)

    (tmp_path / "repositories").mkdir()
    with serving(Origin) as address, git_server(tmp_path / "repositories") as repositories:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        yield Upstream(address, repositories, files)


def recipe(name: str, upstream: Upstream, folder: Path) -> Path:
    """Return a copy of a recipe whose hosts are replaced by the local server; nothing else is changed."""
    copy = folder / name
    shutil.copytree(RECIPES / name, copy, ignore=shutil.ignore_patterns("__pycache__"))
    path = copy / "build.yml"

    def moved(match: re.Match[str]) -> str:
        server = f"git+{upstream.repositories.url}" if match[1] else upstream.address
        return server + urlsplit(match[2]).path

    lines = [
        re.sub(r"(git\+)?(https://[^\s\"]+)", moved, line) if re.search(r"\burl: ", line) else line
        for line in path.read_text().splitlines(keepends=True)
    ]
    path.write_text("".join(lines))
    assert not re.search(r"\burl: \S*https:", path.read_text())
    return copy


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=pytest.mark.big if each in ("airports", "earthquakes") else []) for each in ORIGINALS],
)
def test_a_recipe_publishes_what_is_new_upstream(static: Static, upstream: Upstream, tmp_path: Path, name: str) -> None:
    ref = Ref("ada", name)
    folder = recipe(name, upstream, tmp_path)
    before, after = ORIGINALS[name]
    upstream.publish(before)
    nightly = BuildOptions(update=True)
    first, pushed = build_and_push(static.home(), ref, folder, nightly, tag="nightly")
    assert pushed
    assert pushed.changed
    for machine, options in (("own", nightly), ("own", BuildOptions()), ("another", nightly)):
        again, pushed = build_and_push(static.home(machine), ref, folder, options, tag="nightly")
        assert pushed
        assert (pushed.changed, again.hash) == (False, first.hash)
    upstream.publish(after)
    # Without --update, bytes that changed under the same address are never published.
    with pytest.raises(IntegrityError, match="--update"):
        build_and_push(static.home("third"), ref, folder, BuildOptions(), tag="nightly")
    newer, pushed = build_and_push(static.home(), ref, folder, nightly, tag="nightly")
    assert pushed
    assert pushed.changed
    assert newer.hash != first.hash
    upstream.vanish()
    with pytest.raises(DatapkgError, match=r"404|not found|is not there"):
        build_and_push(static.home(), ref, folder, nightly, tag="nightly")
    client = static.client()
    assert client.resolve(ref).tags == {"latest": newer.hash, "nightly": newer.hash}
    assert len(list(client.log(ref))) == 2


def test_every_recipe_has_an_origin_a_licence_and_an_attribution() -> None:
    found = sorted(path.name for path in RECIPES.iterdir() if path.is_dir())
    assert found == sorted(ORIGINALS)
    for name in found:
        text = (RECIPES / name / "README.md").read_text()
        assert all(f"**{word}.**" in text for word in ("Origin", "Licence", "Attribution")), name
        build_file = (RECIPES / name / "build.yml").read_text()
        assert all(f"\n  {word}: " in build_file for word in ("title", "description", "licence", "origin")), name

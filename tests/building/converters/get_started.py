"""The project of DVC's tutorial "Get started", with small scripts that need nothing but PyYAML."""

from __future__ import annotations

import random
from pathlib import Path

PREPARE = """
import os, random, sys, yaml
from settings import ENCODING

params = yaml.safe_load(open("params.yaml"))["prepare"]
random.seed(params["seed"])
os.makedirs(os.path.join("data", "prepared"), exist_ok=True)
with open(sys.argv[1], encoding=ENCODING) as rows, \\
        open(os.path.join("data", "prepared", "train.tsv"), "w", encoding=ENCODING) as train, \\
        open(os.path.join("data", "prepared", "test.tsv"), "w", encoding=ENCODING) as test:
    for row in rows:
        if "row Id" in row:
            id, words = row.split('"')[1], row.split('"')[3]
            (train if random.random() > params["split"] else test).write(f"{id}\\t{words}\\n")
"""
FEATURIZE = """
import os, sys, yaml

most = yaml.safe_load(open("params.yaml"))["featurize"]["max_features"]
os.makedirs(sys.argv[2], exist_ok=True)
for name in ("train", "test"):
    source, target = (os.path.join(folder, name) for folder in sys.argv[1:])
    with open(source + ".tsv") as rows, open(target + ".csv", "w") as out:
        out.write("id,words,length\\n")
        for row in rows:
            id, text = row.rstrip("\\n").split("\\t")
            out.write(f"{id},{min(most, len(set(text.split())))},{len(text)}\\n")
"""
TRAIN = """
import csv, json, sys, yaml

params = yaml.safe_load(open("params.yaml"))["train"]
rows = list(csv.DictReader(open(sys.argv[1] + "/train.csv")))
mean = sum(int(row["words"]) for row in rows) / len(rows)
json.dump({"mean": mean, "trees": params["n_est"], "seed": params["seed"]}, open(sys.argv[2], "w"))
"""
EVALUATE = """
import csv, json, os, sys

model = json.load(open(sys.argv[1]))
os.makedirs("eval/plots", exist_ok=True)
scores = {}
for name in ("train", "test"):
    rows = list(csv.DictReader(open(f"{sys.argv[2]}/{name}.csv")))
    scores[name] = sum(abs(int(row["words"]) - model["mean"]) for row in rows) / len(rows)
json.dump(scores, open("eval/metrics.json", "w"))
with open("eval/plots/errors.csv", "w") as out:
    out.write("split,error\\n" + "".join(f"{name},{score}\\n" for name, score in scores.items()))
"""
PIPELINE = """\
stages:
  prepare:
    cmd: python src/prepare.py data/data.xml
    deps:
      - data/data.xml
      - src/prepare.py
    params:
      - prepare.seed
      - prepare.split
    outs:
      - data/prepared
  featurize:
    cmd: python src/featurization.py data/prepared data/features
    deps:
      - data/prepared
      - src/featurization.py
    params:
      - featurize.max_features
    outs:
      - data/features
  train:
    cmd: python src/train.py data/features model.json
    deps:
      - data/features
      - src/train.py
    params:
      - train.n_est
      - train.seed
    outs:
      - model.json:
          cache: false
  evaluate:
    cmd: python src/evaluate.py model.json data/features
    deps:
      - data/features
      - model.json
      - src/evaluate.py
    metrics:
      - eval/metrics.json:
          cache: false
    plots:
      - eval/plots/errors.csv
plots:
  - eval/plots/errors.csv:
      x: split
"""
PARAMS = """\
prepare:
  split: 0.20
  seed: 20170428
featurize:
  max_features: 20
train:
  seed: 20170428
  n_est: 50
"""


def write_project(folder: Path) -> None:
    """Write the project, without what `dvc` itself writes."""
    draw = random.Random(1)
    words = "how to sort a list in python with numbers and no loops".split()
    rows = [f'  <row Id="{n}" Title="{" ".join(draw.choices(words, k=6))}" />\n' for n in range(400)]
    files = {
        "data/data.xml": "<posts>\n" + "".join(rows) + "</posts>\n",
        "src/prepare.py": PREPARE,
        "src/settings.py": 'ENCODING = "utf-8"\n',
        "src/featurization.py": FEATURIZE,
        "src/train.py": TRAIN,
        "src/evaluate.py": EVALUATE,
        "dvc.yaml": PIPELINE,
        "params.yaml": PARAMS,
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

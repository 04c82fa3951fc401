"""Convert a Gradient workflow: each job is a stage, and its paths below /inputs and /outputs become names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datapkg.building.converters.code_files import named_files, with_modules
from datapkg.building.converters.conversion import Conversion, escaped, free_name
from datapkg.building.converters.sections import Section, texts_of
from datapkg.building.spec.git_address import GIT, repository_of
from datapkg.errors import InvalidInput
from datapkg.format.suggestions import suggestion
from datapkg.format.texts import quoted

SCRIPT, CHECKOUT = "script@v1", "git-checkout@v1"
# `/inputs/data`, and not the same in a longer path or name.
_PATH = re.compile(r"(?<![\w./-])/(inputs|outputs)/([A-Za-z0-9_-]+)")
_OUTPUT_OF = re.compile(r"\$?\{?\{?\s*([\w-]+)\.outputs\.([\w-]+)\s*\}?\}?\Z")
UPDATE = "datapkg build USER/NAME --update"
_KEPT = ("dataset", "model", "volume")
_DONE = "done"


def convert_gradient(path: Path, conversion: Conversion) -> list[Path]:
    """Convert one workflow, and return its file; jobs of other actions than scripts are named."""
    top = Section.of_file(path, path.name, conversion)
    defaults = top.section("defaults")
    for word in ("resources", "env"):
        if defaults is not None:
            defaults.take(word)
    jobs = dict(top.sections("jobs"))
    names: dict[str, str] = {}
    for job in jobs:
        names[job] = free_name(job, names.values())
    workflow = _Workflow(path.parent, conversion, jobs, names, defaults)
    # Repositories first: jobs that stand above may read them.
    for job, section in sorted(jobs.items(), key=lambda each: each[1].text("uses") != CHECKOUT):
        workflow.add(job, section)
    for word in ("on", "secrets"):
        top.leave_out(word, "a build is started by a command: docs/recipes.md has schedules")
    top.leave_out("inputs", "an input of a job is a folder of its name beside the build file")
    top.take("name")
    if defaults is not None:
        defaults.close()
    top.close()
    return [path]


class _Workflow:
    """The jobs of a workflow, with what each has as outputs."""

    def __init__(
        self,
        root: Path,
        conversion: Conversion,
        jobs: Mapping[str, Section],
        names: Mapping[str, str],
        defaults: Section | None,
    ) -> None:
        self._root, self._conversion, self._names, self._defaults = root, conversion, names, defaults
        self._needs = {job: [each.text for each in texts_of(section.take("needs"))] for job, section in jobs.items()}
        self._outputs: dict[str, dict[str, str]] = {}
        self._refs: dict[str, str] = {}
        self._repositories: dict[str, str] = {}
        self._scripts = {job: section for job, section in jobs.items() if section.text("uses") == SCRIPT}
        self._kinds: dict[str, dict[str, Any]] = {}
        for job, section in jobs.items():
            self._read_outputs(job, section)

    def _read_outputs(self, job: str, section: Section) -> None:
        """Read the outputs of a job, which are folders; a dataset's `ref` is what other jobs name it by."""
        names = self._outputs.setdefault(job, {})
        for output, given in section.sections("outputs"):
            names[output] = free_name(output, names.values())
            kind, options = given.text("type"), given.section("with")
            if kind not in _KEPT:
                given.leave_out("type", f"{quoted(kind)} is kept as a folder of files")
            ref = given.text("ref") or (options.text("ref") if options is not None else "")
            if options is not None:
                options.leave_out("id", "a package is named when it is built: datapkg build USER/NAME")
                options.close()
            given.close()
            self._kinds.setdefault(job, {})[output] = {"origin": f"gradient:{ref}"} if ref else {}
            if ref and job in self._scripts:
                self._refs[ref] = f"stages.{self._names[job]}.{names[output]}"

    def add(self, job: str, section: Section) -> None:
        """Add the stage of a job and a node for each of its outputs."""
        if job in self._scripts:
            self._add_script(job, section)
            return
        uses = section.text("uses")
        if uses == CHECKOUT and self._add_checkout(job, section):
            return
        section.leave_out("uses", f"{quoted(uses or 'nothing')} is not {SCRIPT}; the job is left out")
        for word in ("with", "inputs", "resources", "env", "if", "timeout"):
            section.leave_out(word, f"the job {quoted(job)} is left out")
        section.close()

    def _add_checkout(self, job: str, section: Section) -> bool:
        """Add the files of a repository as a node that jobs read; return False if it cannot be fetched."""
        given = section.section("with")
        url, ref = (given.text("url"), given.text("ref")) if given is not None else ("", "")
        address = f"{GIT}{url}{f'@{ref}' if ref else ''}"
        try:
            repository_of(address)
        except InvalidInput as error:
            if given is not None:
                given.leave_out("url", error.message)
            return False
        assert given is not None
        output = next(iter(self._outputs[job]), job)
        path = output if _is_alone(output, self._outputs) else f"{job}/{output}"
        keywords = {"url": address, "extract": "**/*", "transform": "id"}
        self._repositories[job] = self._conversion.add_node(path, keywords, is_group=True)
        given.leave_out("url", f"it has no sha256 yet; the first build finds it out: {UPDATE}")
        given.close()
        self._resources(section)
        section.close()
        return True

    def _add_script(self, job: str, section: Section) -> None:
        name, outputs = self._names[job], dict(self._outputs[job])
        inputs = self._inputs(job, section, set(outputs.values()))
        given = section.section("with")
        script = given.text("script") if given is not None else ""
        if given is None or not script.strip():
            raise section.wrong("with", "expected a script: with: {script: …}")
        names = {("inputs", each): found for each, (found, _) in inputs.items()}
        names |= {("outputs", each): found for each, found in outputs.items()}
        lines = ["set -e", *self._exports(section), _named_paths(script.rstrip(), names, given)]
        if not outputs:
            done = free_name(_DONE, {found for found, _ in inputs.values()})
            outputs = {"": done}
            lines.append(f": > {{{done}}}")
        stage: dict[str, Any] = {
            "run": "\n".join(lines),
            "shell": True,
            "code": with_modules(named_files(script, self._root), self._root),
            "inputs": dict(inputs.values()),
            "outputs": {found: f"{found}/" if output else f"{found}.txt" for output, found in outputs.items()},
            "image": given.text("image"),
        }
        given.close()
        self._resources(section)
        if (limit := section.text("timeout")) and limit.isdecimal():
            stage["timeout"] = f"{limit}s"
        elif limit:
            section.leave_out("timeout", "expected a number of seconds")
        section.close()
        self._conversion.add_stage(name, stage)
        for output, found in self._outputs[job].items():
            meta = self._kinds[job][output]
            keywords = {"stage": name, "output": found, **({"meta": meta} if meta else {})}
            self._conversion.add_node(
                output if _is_alone(output, self._outputs) else f"{job}/{output}", keywords, is_group=True
            )

    def _exports(self, section: Section) -> list[str]:
        """Return the lines that set the environment variables of the workflow and of a job."""
        found: dict[str, str] = {}
        for each in (self._defaults, section):
            env = each.section("env") if each is not None else None
            for key, value in env.pairs() if env is not None else ():
                if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key.text) and "secret:" not in value.text:
                    found[key.text] = value.text
                elif env is not None:
                    env.leave_out(key.text, "a secret; name the variable in the stage: env: [NAME]")
        return [f"export {name}={escaped(shlex.quote(text))}" for name, text in found.items()]

    def _resources(self, section: Section) -> None:
        for each in (self._defaults, section):
            resources = each.section("resources") if each is not None else None
            if resources is not None:
                resources.leave_out("instance-type", "a type of machine; write what a run needs: resources: {cpu: …}")
                resources.close()

    def _inputs(self, job: str, section: Section, taken: set[str]) -> dict[str, tuple[str, Any]]:
        """Return name and source of the inputs of a job, and of the jobs that it needs to have run before."""
        found: dict[str, tuple[str, Any]] = {}
        top = section.section("inputs")
        for key, value in top.pairs() if top is not None else ():
            assert top is not None
            source = self._source(key.text, value.text if value.kind == "scalar" else "", top)
            name = free_name(key.text, taken)
            taken.add(name)
            if source:
                found[key.text] = name, source
        used = {source.split(".")[1] for _, source in found.values() if isinstance(source, str)}
        for need in self._needs[job]:
            if need not in self._names:
                section.leave_out("needs", f"there is no job {quoted(need)}{suggestion(need, tuple(self._names))}")
            elif need in self._scripts and self._names[need] not in used:
                output = next(iter(self._outputs[need].values()), _DONE)
                name = free_name(f"after_{need}", taken)
                taken.add(name)
                found[f"needs {need}"] = name, f"stages.{self._names[need]}.{output}"
        return found

    def _source(self, name: str, text: str, top: Section) -> Any:
        """Return what an input reads: an output of a job, by its name or by the `ref` of its dataset."""
        ref = ""
        if not text:
            given = top.section(name)
            options = given.section("with") if given is not None else None
            if given is not None:
                given.take("type")
                ref = given.text("ref") or (options.text("ref") if options is not None else "")
        elif match := _OUTPUT_OF.match(text):
            if match[1] in self._repositories:
                return f"contents.{self._repositories[match[1]]}"
            if match[1] in self._scripts and match[2] in self._outputs[match[1]]:
                return f"stages.{self._names[match[1]]}.{self._outputs[match[1]][match[2]]}"
            top.leave_out(name, f"no job of a script has the output {quoted(text)}")
            return None
        if ref in self._refs:
            return self._refs[ref]
        if (self._root / name).exists():
            return {"file": name}
        what = f"the dataset {quoted(ref)}" if ref else quoted(text or "nothing")
        top.leave_out(
            name, f"{what} is made by no job here; put its files into the folder {quoted(name)}, or name a package"
        )
        return None


def _is_alone(output: str, outputs: Mapping[str, Mapping[str, str]]) -> bool:
    return sum(output in each for each in outputs.values()) == 1


def _named_paths(script: str, names: Mapping[tuple[str, str], str], given: Section) -> str:
    """Return a script with names in place of the folders of inputs and outputs."""
    written = []
    end = 0
    for match in _PATH.finditer(script):
        name = names.get((match[1], match[2]))
        if name is None:
            reason = f"{match[0]} is not an {match[1][:-1]} of the job that can be mapped"
            given.conversion.leave_out(given.shown, given.line("script"), given.where("script"), reason)
            continue
        written += [escaped(script[end : match.start()]), f"{{{name}}}"]
        end = match.end()
    return "".join([*written, escaped(script[end:])])

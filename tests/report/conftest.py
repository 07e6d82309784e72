"""Fixtures: sweeps as their jobs leave them, with Hydra's folders and a real store."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from stc.decoding.hypotheses import write_texts
from stc.metrics.score_files import Measurement, Scores
from stc.pipeline.stage import Context
from stc.stages.compare import Compare
from stc.store import Store, identity_of
from stc.store.artifact import Artifact, Kind

SENTENCES = 100
REFERENCES = {
    "de": [f"Das Haus Nummer {number} steht am Fluss, und der Hund läuft." for number in range(SENTENCES)],
    "zh": [f"第{number}号房子在河边，狗在跑。" for number in range(SENTENCES)],
}
METRIC = {"de": "chrf_pp", "zh": "chrf"}
LAYERS = 16
DEFAULTS = {"prune": "greedy", "finetune": "full", "distill": "sequence", "lang": "de", "prune.ratio": 0.5}


def translations(lang: str, wrong: int, salt: str = "") -> list[str]:
    """Translations of which the first ``wrong`` have a fault, each system its own."""
    return [f"{line[:-6]}{salt} x" if at < wrong else line for at, line in enumerate(REFERENCES[lang])]


@cache
def scores_of(metrics: tuple[str, ...], hypotheses: tuple[str, ...], lang: str) -> Scores:
    """Return what many sweeps have alike."""
    references = REFERENCES[lang][: len(hypotheses)]
    return Scores.of(metrics, list(hypotheses), references, lang, sources=references)


@dataclass
class Sweep:
    """A sweep in the making.

    Attributes:
        folder: of the sweep, beside the store.
        machine: what the next systems are measured on.
        sentences: of the test set.
        metrics: that systems are scored by.
        metric: that retention is measured by, if not the one of the language.
        faults: of systems by name, as ``evaluate`` counts them; of others they were not counted.
    """

    folder: Path
    ctx: Context
    jobs: int = 0
    machine: Mapping[str, object] = field(default_factory=dict)
    sentences: int = SENTENCES
    metrics: Sequence[str] = ("bleu", "chrf", "chrf_pp")
    metric: str | None = None
    faults: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    store: Store = field(init=False)

    def __post_init__(self) -> None:
        self.store = Store(self.folder.parent / "store")
        self.folder.mkdir(parents=True)

    def ask(self, settings: Mapping[str, Any]) -> Path:
        """A job that has begun, and no more: the folder as Hydra makes it."""
        job = self.folder / str(self.jobs)
        self.jobs += 1
        hydra = job / ".hydra"
        hydra.mkdir(parents=True)
        every = {**DEFAULTS, **settings}
        groups = {key: value for key, value in every.items() if key in ("prune", "finetune", "distill", "lang")}
        plain = {key: value for key, value in every.items() if key not in groups}
        config = OmegaConf.create({"store": {"dir": "store"}})
        for key, value in plain.items():
            OmegaConf.update(config, key, value, force_add=True)
        overrides = [f"{'' if key in groups else '++'}{key}={value}" for key, value in settings.items()]
        OmegaConf.save(config, hydra / "config.yaml")
        OmegaConf.save(
            {
                "hydra": {
                    "overrides": {"task": overrides},
                    "runtime": {"cwd": str(self.folder.parent), "choices": groups},
                }
            },
            hydra / "hydra.yaml",
        )
        OmegaConf.save(OmegaConf.create(overrides), hydra / "overrides.yaml")
        return job

    def add(self, wrong: Mapping[str, int], seeds: Sequence[int] = (), test: str = "test", **settings: Any) -> Path:
        """A job that has ended.

        Args:
            wrong: system → how many of its translations have a fault; the last system is the pruned one.
            seeds: each makes one more fault than the one before.
            settings: what the job was asked for, dots of a key as two underscores.
        """
        asked = {key.replace("__", "."): value for key, value in settings.items()}
        job = self.ask(asked)
        every = {**DEFAULTS, **asked}
        if not seeds:
            self._result(job, every, wrong, test)
            return job
        for seed in seeds:
            (job / f"seed{seed}").mkdir()
            more = {name: count + seed for name, count in wrong.items()}
            self._result(job / f"seed{seed}", every, more, test)
        runs = [{"seed": seed, "result": f"seed{seed}/result.json"} for seed in seeds]
        (job / "result.json").write_text(json.dumps({"seeds": list(seeds), "runs": runs, "systems": []}))
        return job

    def _result(self, job: Path, settings: Mapping[str, Any], wrong: Mapping[str, int], test: str) -> None:
        lang = settings["lang"]
        inputs: dict[str, dict[str, Artifact]] = {"scores": {}, "measurements": {}, "models": {}}
        for position, (name, faults) in enumerate(wrong.items()):
            pruned = position == len(wrong) - 1
            layers = round(LAYERS * (1 - settings["prune.ratio"])) if pruned else LAYERS
            decided_by = [settings["prune"]] * pruned
            if "healed" in name:
                decided_by += [settings["finetune"], settings["distill"]]
            hypotheses = translations(lang, faults, "".join(one[0] for one in decided_by))[: self.sentences]
            spec = {"name": name, "layers": layers, "by": decided_by, "texts": hypotheses}
            model = Artifact(Kind.MODEL, self.folder, identity_of(spec))
            packed = name.endswith("nf4")
            inputs["models"][name] = model
            scored = self._scores(model, lang, hypotheses, test)
            inputs["scores"][name] = replace(scored, facts={"output_faults": self.faults.get(name)})
            inputs["measurements"][name] = self._measurement(model, layers, packed)
        compare = Compare(metric=self.metric or METRIC[lang], resamples=50, confidence=0.95, seed=0)
        spec = {
            "stage": "compare",
            "inputs": {
                f"{key}.{name}": one.identity for key, several in inputs.items() for name, one in several.items()
            },
        }
        made = self._publish(Kind.COMPARISON, spec, lambda folder: compare.run(inputs, folder, self.ctx))
        rows = [{"name": name} for name in wrong]
        stages = [{"name": "compare", "identity": made.identity, "cached": False, "seconds": 1.0}]
        (job / "result.json").write_text(json.dumps({"systems": rows, "stages": stages}))

    def _scores(self, model: Artifact, lang: str, hypotheses: list[str], test: str) -> Artifact:
        references = REFERENCES[lang][: self.sentences]

        def write(folder: Path) -> dict[str, Any]:
            scores_of(tuple(self.metrics), tuple(hypotheses), lang).save(folder)
            write_texts(folder / "references.txt", references)
            return {}

        spec = {"stage": "evaluate", "inputs": {"model": model.identity, "data": identity_of({"test": test})}}
        return self._publish(Kind.SCORES, spec, write)

    def _measurement(self, model: Artifact, layers: int, packed: bool) -> Artifact:
        def write(folder: Path) -> dict[str, Any]:
            Measurement(
                decoder_layers=layers,
                encoder_layers=4,
                parameters=layers * 700_000,
                packed_elements=layers * (350_000 if packed else 700_000),
                bytes_on_disk=layers * (480_000 if packed else 1_400_000),
                rtf=0.004 * layers,
                rtf_batched=0.001 * layers,
                decode_batch=8,
                peak_memory_bytes=600_000_000 + layers * 1_000_000,
                peak_memory_batched_bytes=700_000_000,
                load_seconds=1.0,
                utterances=5,
                audio_seconds=10.0,
                device="cpu",
                threads=1,
                machine=dict(self.machine),
            ).save(folder)
            return {}

        spec = {"stage": "measure", "inputs": {"model": model.identity}, "surroundings": dict(self.machine)}
        return self._publish(Kind.MEASUREMENT, spec, write)

    def search(self, job: Path, rankings: Sequence[Mapping[str, Any]]) -> None:
        """Give a job that has ended the rounds of a search for layers, in front of its other stages."""
        stages = []
        for number, ranking in enumerate(rankings, 1):

            def write(folder: Path, ranking: Mapping[str, Any] = ranking) -> dict[str, Any]:
                (folder / "ranking.json").write_text(json.dumps(ranking))
                return {}

            made = self._publish(Kind.RANKING, {"stage": "importance", "ranking": ranking}, write)
            stages.append({"name": f"importance.{number}", "identity": made.identity})
        result = json.loads((job / "result.json").read_text())
        (job / "result.json").write_text(json.dumps({**result, "stages": [*stages, *result["stages"]]}))

    def _publish(self, kind: Kind, spec: Mapping[str, Any], write: Callable[[Path], Mapping[str, Any]]) -> Artifact:
        spec = {"config": {}, "inputs": {}, **spec}
        identity = identity_of(spec)
        if self.store.record(kind, identity) is None:
            with self.store.publish(kind, identity) as (folder, record):
                record.update(spec=spec, facts=dict(write(folder)), seconds=1.0)
        found, why = self.store.get(kind, identity)
        assert found is not None, why
        return found


@pytest.fixture
def sweep(tmp_path: Path, ctx: Context) -> Sweep:
    return Sweep(tmp_path / "sweep", ctx)


@pytest.fixture(scope="module")
def new_sweep(tmp_path_factory: pytest.TempPathFactory, module_ctx: Context) -> Callable[[], Sweep]:
    """``new_sweep()``: one that the tests of a file read and leave as it is."""
    return lambda: Sweep(tmp_path_factory.mktemp("common") / "sweep", module_ctx)


def add_all(sweep: Sweep, ratios: Sequence[float] = (0.25, 0.5), **more: Any) -> None:
    """Add a job for each ratio, two ways to prune and two ways to fine-tune."""
    for ratio in ratios:
        for prune, wrong in (("greedy", 3), ("random", 9)):
            for finetune, faults in (("full", 0), ("lora", 2)):
                systems = {"teacher": 1, "healed-nf4": 2 + faults, "pruned-nf4": wrong + faults + round(10 * ratio)}
                sweep.add(systems, prune=prune, finetune=finetune, prune__ratio=ratio, **more)


@pytest.fixture(scope="module")
def eight(new_sweep: Callable[[], Sweep]) -> Sweep:
    """A sweep of two ratios, which nobody changes."""
    made = new_sweep()
    add_all(made)
    return made


@pytest.fixture(scope="module")
def four(new_sweep: Callable[[], Sweep]) -> Sweep:
    """A sweep of one ratio, which nobody changes."""
    made = new_sweep()
    add_all(made, ratios=(0.5,))
    return made


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved, each once."""
    figures: list[Figure] = []
    save = Figure.savefig

    def seen(figure: Figure, *arguments: Any, **more: Any) -> None:
        if figure not in figures:
            figures.append(figure)
        save(figure, *arguments, **more)

    monkeypatch.setattr(Figure, "savefig", seen)
    return figures

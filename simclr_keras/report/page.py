"""The page about one run."""

from simclr_keras import run_files
from simclr_keras.report import costs
from simclr_keras.report import curves
from simclr_keras.report import embeddings
from simclr_keras.report import rendering
from simclr_keras.report import results
from simclr_keras.report import settings

_NUM_ACCURACIES = 3
# What predicts, after another training than pretraining.
_CLASSIFIERS = {
    "finetune": "The fine-tuned classifier",
    "distill": "The student",
}


def render(run):
    """The text of the page about a `files.Run`."""
    return rendering.render(
        "run.html.j2",
        title=f"SimCLR run {run.name}",
        name=run.name,
        state=state(run),
        figures=_figures(run),
        facts=_facts(run),
        settings=_settings(run),
        versions=_versions(run),
        samples=_samples(run),
        curves=curves.of_run(run),
        best=_best(run),
        results=_results(run),
        embeddings=embeddings.words(run),
        sphere=embeddings.sphere(run),
        map=embeddings.map_of(run),
        neighbours=embeddings.neighbours(run),
        confusion=embeddings.confusion(run),
        classifier=_CLASSIFIERS.get(
            run.train_mode, "The linear probe on all labels"
        ),
        costs=costs.rows(run),
    )


def state(run):
    """(word, sentence) on how far it came."""
    resources = run.resources or {"processes": []}
    total = resources.get("total_steps")
    of = f" of {total:,}" if total else ""
    step = f"step {run.metrics[-1]['step']:,}{of}" if run.metrics else None
    recorded = (
        f"{step} is the last one recorded" if step else "no step recorded"
    )
    if run.config and run.config.get("finished"):
        return "finished", f"Finished, {step}." if step else "Finished."
    ended = resources["processes"] and resources["processes"][-1]["ended"]
    if ended:
        return "stopped", f"Stopped: {ended} ({recorded})."
    return "unfinished", f"Not finished; {recorded}."


def _figures(run):
    """[(number, what it is)]: what one looks for first."""
    found = []
    rows = run.results["representations"] if run.results else {}
    if own := rows.get(run_files.own_representation(rows)):
        found += [
            (f"{measure.percent(own)} %", f"{measure.title}, top-1")
            for measure in results.measures([own])
            if measure.metric == "top1"
        ][:_NUM_ACCURACIES]
    if run.metrics and run.metrics[-1].get("loss") is not None:
        level = curves.chance(run)
        label = "last loss" + (f" (chance {level:.2f})" if level else "")
        found.append((f"{run.metrics[-1]['loss']:.2f}", label))
    if seconds := costs.training_seconds(run):
        found.append((costs.duration(seconds), "training"))
    return found


def _best(run):
    """The encoder of the best kNN accuracy, in words; or None."""
    if run.best is None:
        return None
    best = run.best
    after = f"step {best['step']:,}"
    if "epochs" in best:
        after = f"{best['epochs']:,.4g} epochs ({after})"
    return f"{100 * best['knn_top1']:.1f} % by kNN after {after}"


def _facts(run):
    dataset = (run.config or {}).get("dataset", {})
    found = []
    if "name" in dataset:
        found.append(("data set", str(dataset["name"])))
    if "num_examples" in dataset:
        found.append(("images to pretrain on", f"{dataset['num_examples']:,}"))
    if dataset.get("num_classes"):
        found.append(("classes", str(dataset["num_classes"])))
    if "fingerprint" in dataset:
        found.append(("fingerprint of the data", dataset["fingerprint"]))
    return found


def _settings(run):
    if run.config is None:
        return None
    return {
        "recipe": run.config.get("recipe"),
        "given": settings.given(run.config),
        "of_recipe": settings.of_origin(run.config, "recipe"),
        "defaults": settings.of_origin(run.config, "default"),
    }


def _versions(run):
    environment = (run.config or {}).get("environment", {})
    found = [
        (name.replace("_", " "), str(value))
        for name, value in environment.items()
        if value is not None
    ]
    processes = (run.resources or {}).get("processes", [])
    for process in processes[-1:]:
        found.append(("processor", process["processor"]))
        accelerators = process["accelerators"]
        found.append(("accelerators", ", ".join(accelerators) or "none"))
    return found


def _samples(run):
    if run.samples is None:
        return None
    names = run.class_names
    labels = run.samples.get("labels")
    captions = [""] * len(run.samples["images"])
    if labels is not None:
        captions = [embeddings.class_name(label, names) for label in labels]
    return {
        "images": list(zip(run.samples["images"], captions, strict=True)),
        "pairs": run.samples["pairs"],
        "originals": run.samples.get("originals"),
    }


def _results(run):
    if run.results is None:
        return None
    rows = run.results["representations"]
    return {
        "names": list(rows),
        "lines": results.lines(list(rows.values())),
        "notes": results.notes(run.results),
    }

"""Several runs side by side: the page, and tables in Markdown."""

import re

from simclr_keras import run_files
from simclr_keras.report import costs
from simclr_keras.report import curves
from simclr_keras.report import embeddings
from simclr_keras.report import page
from simclr_keras.report import rendering
from simclr_keras.report import results
from simclr_keras.report import settings


def names(runs):
    """A short name for each `files.Run`, each another one."""
    found = [run.name for run in runs]
    if len(set(found)) == len(found):
        return found
    paths = [run.path.resolve() for run in runs]
    found = [f"{path.parent.name}/{path.name}" for path in paths]
    return found if len(set(found)) == len(found) else list(map(str, paths))


def render(runs):
    """The text of the page about two or more runs."""
    run_names = names(runs)
    rows = representations(runs, run_names)
    return rendering.render(
        "comparison.html.j2",
        title=f"{len(runs)} SimCLR runs",
        names=run_names,
        states=[page.state(run) for run in runs],
        same_data=_have_same_data(runs),
        settings=settings.differing(runs),
        results=rows
        and {
            "names": [name for name, _, _ in rows],
            "lines": results.lines([row for _, row, _ in rows]),
            "notes": _all_notes(runs, run_names, results.notes),
        },
        curves=curves.of_runs(runs, run_names),
        spheres=[embeddings.sphere(run) for run in runs],
        costs=_costs(runs),
    )


def representations(runs, run_names):
    """What was measured: [(name, its results, settings unlike other runs')].

    What runs made comes first; baselines that are the same in several runs,
    as raw pixels are, are there once.
    """
    differing = settings.differing(runs)
    made, baselines = [], {}
    for number, (run, name) in enumerate(zip(runs, run_names, strict=True)):
        values = [each[number] for each in differing.values()]
        measured = run.results["representations"] if run.results else {}
        own = run_files.own_representation(measured)
        for what, row in measured.items():
            if what == own:
                label = name if len(runs) > 1 else what
                made.append((label, row, values))
            else:
                baselines.setdefault(what, []).append((name, row, values))
    for what, rows in baselines.items():
        made += _different(what, rows, len(differing))
    return made


def _different(what, rows, num_settings):
    """Lines for one baseline of several runs, equal ones taken together."""
    different = []
    for name, row, values in rows:
        for names_of, other, _ in different:
            if row == other:
                names_of.append(name)
                break
        else:
            different.append(([name], row, values))
    if len(different) == 1:
        return [(what, different[0][1], [""] * num_settings)]
    return [
        (f"{what} of {', '.join(names_of)}", row, values)
        for names_of, row, values in different
    ]


def markdown(runs):
    """A table of the results of runs in Markdown, with what it needs said.

    Raises:
        ValueError: if nothing was measured in any of them.
    """
    run_names = names(runs)
    rows = representations(runs, run_names)
    if not rows:
        raise ValueError(
            f"nothing was measured in {', '.join(str(r.path) for r in runs)}"
        )
    measures = results.measures([row for _, row, _ in rows])
    flags = [f"`--{name}`" for name in settings.differing(runs)]
    heading = ["", *flags, *(measure.title for measure in measures)]
    table = [heading, ["---", *["---:"] * (len(heading) - 1)]]
    for name, row, values in rows:
        table.append([name, *values, *(_cell(m, row) for m in measures)])
    notes = " ".join(_all_notes(runs, run_names, _notes))
    return "\n".join([*map(_row, table), "", notes])


def _all_notes(runs, run_names, notes):
    """What `notes` says of the results of each run, each sentence once.

    One that is not of all of them says whose it is.
    """
    said = {}
    measured = [
        (name, run.results)
        for run, name in zip(runs, run_names, strict=True)
        if run.results
    ]
    for name, result in measured:
        for sentence in notes(result):
            said.setdefault(sentence, []).append(name)
    return [
        sentence if len(of) == len(measured) else f"{', '.join(of)}: {sentence}"
        for sentence, of in said.items()
    ]


def _notes(measured):
    lines = results.notes(measured)
    rows = measured["representations"].values()
    spread = [
        measure.result(row)
        for measure in results.measures(rows)
        for row in rows
        if measure.deviation(row)
    ]
    if spread:
        over = " or ".join(dict.fromkeys(map(results.fits, spread)))
        if not any(map(results.is_over_training_runs, spread)):
            over += ", not over training runs"
        lines.insert(1, f"± is the standard deviation over {over}.")
    return lines


def _cell(measure, row):
    deviation = measure.deviation(row)
    tail = "" if deviation is None else f" ± {deviation}"
    return measure.percent(row) + tail


def _row(cells):
    escaped = (re.sub(r"([|*])", r"\\\1", c).replace("\n", " ") for c in cells)
    return "".join(f"| {cell} " if cell else "| " for cell in escaped) + "|"


def _have_same_data(runs):
    found = [(run.config or {}).get("dataset", {}) for run in runs]
    return len({data.get("fingerprint") for data in found}) == 1


def _costs(runs):
    """{what: [value of each run]}."""
    found = {}
    for number, run in enumerate(runs):
        for what, value in costs.rows(run):
            found.setdefault(what, [results.NO_VALUE] * len(runs))
            found[what][number] = value
    return found

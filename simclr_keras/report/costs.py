"""Time and memory of a run, in words."""

import math
import statistics

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def training_seconds(run):
    """How long its steps took, first to last; None if that is not known."""
    batch_size = run.flags.get("train_batch_size")
    seconds, before = 0.0, 0
    for line in run.metrics:
        steps, before = line["step"] - before, line["step"]
        if line.get("images_per_second") and batch_size:
            seconds += steps * batch_size / line["images_per_second"]
    return seconds or None


def rows(run):
    """[(what, value)] of all that is known."""
    found = []
    if seconds := training_seconds(run):
        found.append(("training", duration(seconds)))
    if run.resources:
        found += _of_processes(run.resources["processes"])
    # The first line has the tracing of the graph in it.
    lines = run.metrics[1:] or run.metrics
    if rates := _values(lines, "images_per_second"):
        rate = statistics.median(rates)
        found.append(("images per second, median", f"{rate:,.0f}"))
    if waits := _values(lines, "data_wait"):
        wait = statistics.median(waits)
        found.append(("of it waiting for images, median", f"{wait:.1%}"))
    if run.metrics and run.metrics[-1].get("skipped_steps"):
        skipped = run.metrics[-1]["skipped_steps"]
        found.append(("steps skipped by the loss scaler", f"{skipped:,}"))
    return found


def _of_processes(processes):
    seconds = sum(process["seconds"] for process in processes)
    label = "training, evaluation and export"
    if len(processes) > 1:
        label += f", {len(processes)} processes"
    yield label, duration(seconds)
    peak = max(process["peak_memory_bytes"] for process in processes)
    yield "most memory of a process", num_bytes(peak)
    peaks = [process.get("peak_accelerator_bytes", 0) for process in processes]
    if max(peaks):
        yield "most memory on an accelerator", num_bytes(max(peaks))


def _values(lines, name):
    return [line[name] for line in lines if line.get(name) is not None]


def duration(seconds):
    """As "1 h 2 min", "3 min 4 s" or "5 s"."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def num_bytes(number):
    """As "1.5 GiB"."""
    power = min(int(math.log(max(number, 1), 1024)), len(_UNITS) - 1)
    return f"{number / 1024**power:.3g} {_UNITS[power]}"

"""The model card that stands beside an exported model, in Markdown."""

from simclr_keras.export import versions

_CONTRACT = """\
## What it takes

- `image_bytes`: files, one per row: JPEG (grey, colour, CMYK, progressive),
  PNG (palette, transparent, 16 bits), GIF (first frame), BMP, still WebP.
  Photos (JPEG) are turned upright as their EXIF orientation says; transparent
  pixels become white; grey becomes three equal channels.
- `images`: RGB, of any height and width, the same within a request; float32
  in [0, 1] (values outside are clipped), or uint8.

Do not crop, resize or normalise. That happens inside, as in evaluation: the
middle of the image, {crop:.1%} of the side that limits it, is resized to
{height} x {width} pixels.

## What it answers

Everything is float32 but `classes` (int64, indices) and `valid` (bool). A file
that is damaged, truncated, of another format or of more than {megapixels:.0f}
million pixels makes its own row `valid` = false, with zeros elsewhere; the
other rows are answered. Batches may have any number of rows, also none.
"""


def card(metadata):
    """The text of `README.md`.

    Args:
        metadata: dict, the content of `metadata.json`.
    """
    height, width = metadata["image_size"]
    sections = [
        f"# Image encoder: {_title(metadata)}",
        f"Embeddings of {metadata['widths']['features']} numbers"
        + _classes(metadata)
        + f", computed in {metadata['precision']}. All that is said here, and "
        f"more, is in `{versions.METADATA}` beside this file.",
        f"```\n{versions.signature_text(metadata)}\n```",
        _CONTRACT.format(
            crop=metadata["crop_proportion"],
            height=height,
            width=width,
            megapixels=metadata["max_pixels"] / 1e6,
        ).rstrip(),
        *_provenance(metadata["provenance"]),
        _versions(metadata),
    ]
    return "\n\n".join(sections) + "\n"


def _title(metadata):
    dataset = metadata["provenance"].get("dataset") or {}
    return dataset.get("name", "data set not recorded")


def _classes(metadata):
    count = metadata["widths"].get("classes")
    if count is None:
        return ""
    names = metadata["class_names"]
    text = f" and probabilities of {count} classes"
    if names and count <= 20:
        text += f" ({', '.join(names)})"
    return text


def _provenance(found):
    dataset, results = found.get("dataset"), found.get("results")
    if dataset:
        yield "## Data\n\n" + _items(dataset)
    if "recipe" in found or "settings" in found:
        yield (
            f"## Training\n\nRecipe: {found.get('recipe', 'none')}. Flags that "
            "were not left at their defaults:\n\n"
            + _items(found.get("settings", {}))
        )
    if results:
        rows = "\n".join(map(_row, results.items()))
        yield (
            "## Measured\n\n| evaluation | top-1 | top-5 | test examples | "
            f"protocol |\n| --- | --- | --- | --- | --- |\n{rows}\n\n"
            "On the data above. Nothing is known of other images: measure "
            "before you rely on it."
        )


def _row(item):
    name, result = item
    error = result.get("top1_standard_error")
    top1 = _percent(result.get("top1"))
    if error is not None:
        top1 += f" ± {100 * error:.1f}"
    return (
        f"| {name} | {top1} | {_percent(result.get('top5'))} | "
        f"{result.get('num_examples', '–')} | {result.get('protocol', '–')} |"
    )


def _percent(share):
    return "–" if share is None else f"{100 * share:.1f} %"


def _versions(metadata):
    trained = metadata["provenance"].get("environment") or {}
    text = "## Versions\n\nExported with:\n\n" + _items(metadata["versions"])
    if trained:
        text += "\n\nTrained with:\n\n" + _items(trained)
    return text


def _items(values):
    return "\n".join(
        f"- {name}: {value}"
        for name, value in values.items()
        if value is not None
    )

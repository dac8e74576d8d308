"""A page of neighbours: one file, pictures inside, no request to anywhere."""

import base64
import os
import pathlib

import jinja2
import tensorflow as tf

from simclr_keras import preprocessing
from simclr_keras.data import image_files

_SIDE = 192
_TEMPLATE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Neighbours of {{ query }}</title>
<style>
:root { color-scheme: light dark; font: 15px/1.4 sans-serif }
body { max-width: 80rem; margin: 2rem auto; padding: 0 1rem }
ol { display: grid; gap: 1rem; padding: 0; list-style: none;
  grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)) }
figure { margin: 0 }
img { width: 12rem; height: 12rem; object-fit: contain; background: #8882 }
img.small { image-rendering: pixelated }
figcaption { overflow-wrap: anywhere }
figcaption b { display: block }
.none { display: grid; place-items: center; width: 12rem; height: 12rem;
  background: #8882 }
</style>
{% macro figure(path, caption) %}
{% set picture = pictures[path] %}
<figure>
{% if picture %}
<img src="{{ picture.address }}" alt="{{ path }}"
  {% if picture.is_small %}class="small"{% endif %}>
{% else %}<div class="none">no picture</div>
{% endif %}
<figcaption>{% if caption %}<b>{{ caption }}</b>{% endif %}{{ path }}
</figcaption>
</figure>
{% endmacro %}
<h1>Nearest neighbours</h1>
{{ figure(query, "") }}
<p>The {{ neighbors | length }} most similar images in {{ embeddings }}, by
cosine similarity of their embeddings (1: same direction).</p>
<ol>
{% for neighbor in neighbors %}
<li>{{ figure(
  neighbor.path,
  "%.4f %s" | format(neighbor.similarity, neighbor.class_name)
) }}</li>
{% endfor %}
</ol>
</html>
"""


def write_page(path, query, neighbors, *, embeddings, read):
    """Writes the page; replaces an earlier one of this name.

    Args:
        path: of the page.
        query: path of the image whose neighbours they are.
        neighbors: list of `neighbors.Neighbor`.
        embeddings: str, the file that was searched.
        read: function from a path to the content of a file, a string scalar,
            or to pixels [h, w, 3] uint8; or to None where there is none.
    """
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = {query, *(neighbor.path for neighbor in neighbors)}
    page = environment.from_string(_TEMPLATE).render(
        query=query,
        neighbors=neighbors,
        embeddings=embeddings,
        pictures={path: _picture(read(path)) for path in shown},
    )
    partial = f"{path}.partial"
    pathlib.Path(partial).write_text(page, encoding="utf-8", errors="replace")
    os.replace(partial, path)


def _picture(image):
    """A small JPEG as a data address; None where there is no picture."""
    if image is None:
        return None
    try:
        if image.dtype == tf.string:
            image = preprocessing.decode(image, image_files.MAX_PIXELS)
    except tf.errors.OpError:
        return None
    is_small = max(image.shape[:2]) < _SIDE
    if not is_small:
        image = tf.image.resize(
            image, (_SIDE, _SIDE), preserve_aspect_ratio=True, antialias=True
        )
        image = tf.saturate_cast(tf.round(image), tf.uint8)
    content = base64.b64encode(tf.io.encode_jpeg(image, quality=90).numpy())
    return {
        "address": f"data:image/jpeg;base64,{content.decode()}",
        "is_small": is_small,
    }

import base64
import re

import tensorflow as tf

from simclr_keras import embedding
from simclr_keras.embedding.neighbors import Neighbor
from tests.embedding import small


class TestWritePage:
    def test_escapes_names(self, tmp_path):
        page = tmp_path / "page.html"
        evil = Neighbor("<script>1</script>.png", '"><b>', 0.5)
        embedding.write_page(
            page, "<b>&.png", [evil], embeddings="<a>", read=lambda _: None
        )
        text = page.read_text()
        assert "&lt;b&gt;&amp;.png" in text
        assert "0.5000 &#34;&gt;&lt;b&gt;" in text
        assert not any(tag in text for tag in ("<b>&", "<script", "<a>"))
        assert text.count("no picture") == 2

    def test_pictures(self, tmp_path):
        """Of files, of pixels, and none of what is no image."""
        page = tmp_path / "page.html"
        content = {
            "a": tf.constant(small.jpeg(0)),
            "b": tf.zeros([300, 200, 3], tf.uint8),
            "c": tf.constant(b"text"),
        }
        neighbors = [Neighbor(path, "", 1.0) for path in "bc"]
        embedding.write_page(
            page, "a", neighbors, embeddings="a.npz", read=content.get
        )
        found = re.findall(r"data:image/jpeg;base64,([^\"]*)", page.read_text())
        sizes = [
            tuple(tf.io.decode_jpeg(base64.b64decode(one)).shape[:2])
            for one in found
        ]
        assert sizes == [(12, 10), (192, 128)]

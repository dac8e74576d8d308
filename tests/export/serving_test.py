import sys

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from simclr_keras.export import serving
from simclr_keras.export import versions

SIGNATURES = {
    "serving_default": {"inputs": {"image_bytes": {"dtype": "string"}}},
    "embed": {"inputs": {"images": {"dtype": "float32"}}},
    "embed_uint8": {"inputs": {"images": {"dtype": "uint8"}}},
}


class TestWriteWarmupRequests:
    @pytest.fixture
    def requests(self, tmp_path):
        assert serving.write_warmup_requests(tmp_path, (4, 6), SIGNATURES) == 3
        records = tf.data.TFRecordDataset(str(tmp_path / versions.WARMUP))
        logs = [
            prediction_log_pb2.PredictionLog.FromString(record.numpy())
            for record in records
        ]
        return [log.predict_log.request for log in logs]

    def test_one_per_signature(self, requests):
        specs = [request.model_spec for request in requests]
        assert [spec.signature_name for spec in specs] == list(SIGNATURES)
        assert {spec.name for spec in specs} == {"encoder"}

    def test_images(self, requests):
        files, floats, pixels = (
            tf.make_ndarray(*request.inputs.values()) for request in requests
        )
        grey = np.full((1, 4, 6, 3), 128, np.uint8)
        np.testing.assert_array_equal(pixels, grey)
        np.testing.assert_allclose(floats, grey / 255, rtol=1e-6)
        np.testing.assert_array_equal(tf.io.decode_jpeg(files[0]), grey[0])

    def test_none_without_the_package(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
        assert serving.write_warmup_requests(tmp_path, (4, 6), SIGNATURES) == 0
        assert list(tmp_path.iterdir()) == []


class TestWriteServerFiles:
    def test_is_what_the_server_parses(self, tmp_path):
        serving.write_server_files(tmp_path)
        text = (tmp_path / serving.MODEL_CONFIG).read_text()
        (model,) = text_format.Parse(
            text, model_server_config_pb2.ModelServerConfig()
        ).model_config_list.config
        assert (model.name, model.base_path) == ("encoder", "/models/encoder")
        assert model.model_version_policy.latest.num_versions == 1

    def test_edited_files_are_kept(self, tmp_path):
        (tmp_path / serving.MODEL_CONFIG).write_text("mine")
        serving.write_server_files(tmp_path)
        assert (tmp_path / serving.MODEL_CONFIG).read_text() == "mine"
        text = (tmp_path / serving.BATCHING_PARAMETERS).read_text()
        assert "pad_variable_length_inputs: false" in text

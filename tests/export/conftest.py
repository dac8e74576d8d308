import pytest
import tensorflow as tf

from tests.export import small_model
from tests.export.model_server import ModelServer
from tests.export.rest_server import RestServer


@pytest.fixture(scope="session")
def small_saved_model(tmp_path_factory):
    """Path of version 1 of `small_model`, not to be changed."""
    return small_model.write(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def signatures(small_saved_model):
    """Those of the same model without a server."""
    return tf.saved_model.load(small_saved_model).signatures


@pytest.fixture(scope="session")
def _server(small_saved_model):
    with ModelServer(small_saved_model.parent) as server:
        yield server


@pytest.fixture
def server(_server):
    """Serves `small_saved_model`; has heard no requests."""
    yield _server
    _server.requests.clear()
    _server.faults.clear()
    _server.delay = 0.0


@pytest.fixture(scope="session")
def _rest(_server):
    with RestServer(_server) as rest:
        yield rest


@pytest.fixture
def rest(server, _rest):
    """The REST interface of `server`."""
    return _rest

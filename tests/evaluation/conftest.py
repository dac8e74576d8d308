"""Products this small are slower on many cores, and far slower on busy ones."""

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True)
def _one_core():
    with threadpool_limits(1):
        yield

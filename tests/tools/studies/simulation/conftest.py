"""A small subject with a known floor."""

import pytest

from tools.studies.simulation.experiments import problems, split
from tools.studies.simulation.subject import make_subject


@pytest.fixture(scope="package")
def subject():
    return make_subject(1, channels=16, gaussian=True, n_sources=100)


@pytest.fixture(scope="package")
def rows(subject):
    """LD and other rows."""
    return split(subject, 5)


@pytest.fixture(scope="package")
def problem(subject, rows):
    """For outputs as measured, and for clean ones."""
    return problems(subject, *rows)

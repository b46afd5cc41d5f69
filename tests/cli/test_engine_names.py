"""Engine names are written down where an import would be slow: they must stay the same."""

from typing import get_args

from emag_rt.cli.options import ENGINE
from emag_rt.daemon.settings import EngineSettings
from emag_rt.render.factory import CHOICES


def test_every_list_of_engines_is_the_same():
    assert tuple(ENGINE.choices) == CHOICES
    assert get_args(EngineSettings.model_fields["name"].annotation) == CHOICES

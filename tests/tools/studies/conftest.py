"""Studies calibrate too: on the session that calibration's tests have."""

from tests.calibration.conftest import head, one_torch_thread, session_files

__all__ = ["head", "one_torch_thread", "session_files"]

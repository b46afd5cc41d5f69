"""Studies calibrate too: the session on disk and its head are those of calibration's tests."""

from tests.calibration.conftest import head, one_torch_thread, session_files

__all__ = ["head", "one_torch_thread", "session_files"]

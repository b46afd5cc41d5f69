"""The ``torch`` engine: the folded operator on CUDA (or the CPU), one sample as a CUDA graph.

Only this module of the package imports torch, and only once the engine is asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from emag_rt.array_types import Float32Array, FloatArray
from emag_rt.errors import EngineError
from emag_rt.render.plan import RenderPlan
from emag_rt.render.torch_field import TorchField

if TYPE_CHECKING:
    from torch import Tensor
    from torch import device as Device

log = logging.getLogger(__name__)
_BLOCK = 1024
_WARM_UP = 3


class TorchRenderer:
    """Folded rendering in torch, float32; its state stays on the device.

    One sample goes through pinned buffers and a captured graph; other chunks are computed
    operation by operation and leave the same state.

    Parameters
    ----------
    plan : RenderPlan
        What to render.
    require_gpu : bool
        Fail unless it runs on CUDA.
    device : {"cuda", "cpu"}, optional
        Where to run; by default on CUDA where that works, else on the CPU.
    sizes : sequence of int
        Samples of the chunks that get a graph of their own.

    Raises
    ------
    EngineError
        If torch is missing, or cannot compute where it must.
    """

    def __init__(
        self,
        plan: RenderPlan,
        require_gpu: bool = False,
        device: str | None = None,
        sizes: Sequence[int] = (1,),
    ) -> None:
        torch = self._torch = _import_torch()
        self._device = _choose(torch, "cuda" if require_gpu else device)
        self.name = f"torch-{self._device.type}"
        n_ld, self._n_out = plan.operator.n_ld, plan.operator.n_out
        try:
            with _exact(torch):
                self._field = TorchField(torch, plan.operator, plan.measured, self._device)
                self._hops = {
                    n: _Hop(torch, self._device, self._field, (n, n_ld), (n, self._n_out))
                    for n in sizes
                }
                self._field.reset()
        except RuntimeError as error:  # out of memory, a library that does not load
            raise EngineError(f"engine torch: cannot start on {self._device}: {error}") from error

    def reset(self) -> None:
        """Forget the context."""
        with _exact(self._torch):
            self._field.reset()

    def prepare(self) -> None:
        """There is nothing to do ahead."""

    def advance(self, ld: FloatArray) -> None:
        """Take samples into the context without rendering them."""
        with _exact(self._torch):
            for part in _parts(ld):
                self._field.advance(self._on_device(part))

    def push(self, ld: FloatArray) -> Float32Array:
        """Render; see :meth:`emag_rt.render.plan.Renderer.push`."""
        hop = self._hops.get(len(ld))
        if hop is not None:
            return hop.push(ld)
        out = np.zeros((len(ld), self._n_out), dtype=np.float32)
        done = 0
        with _exact(self._torch):
            for part in _parts(ld):
                hd = self._field.render(self._on_device(part))
                out[done : done + len(part)] = hd.cpu().numpy()
                done += len(part)
        return out

    def _on_device(self, ld: FloatArray) -> Tensor:
        return self._torch.tensor(ld, dtype=self._torch.float64, device=self._device)


class _Hop:
    """Chunks of one size, from host to host through buffers that never move."""

    def __init__(
        self,
        torch: ModuleType,
        device: Device,
        field: TorchField,
        size_in: tuple[int, int],
        size_out: tuple[int, int],
    ) -> None:
        self._torch, self._field = torch, field
        pinned = device.type == "cuda"
        self._in_host = torch.zeros(size_in, dtype=torch.float64, pin_memory=pinned)
        self._out_host = torch.zeros(size_out, dtype=torch.float32, pin_memory=pinned)
        self._in, self._out = self._in_host.to(device), self._out_host.to(device)
        # On the CPU nothing was copied: the buffers are the host's own.
        self._ld, self._hd = self._in_host.numpy(), self._out_host.numpy()
        self._work: Callable[[], None] = self._compute
        self._wait: Callable[[], None] = _nothing
        if device.type == "cuda":
            self._on_cuda(torch.cuda)

    def push(self, ld: FloatArray) -> Float32Array:
        self._ld[:] = ld
        with self._torch.inference_mode():
            self._in.copy_(self._in_host, non_blocking=True)
            self._work()
            self._out_host.copy_(self._out, non_blocking=True)
        self._wait()
        return self._hd.copy()

    def _compute(self) -> None:
        with _exact(self._torch):
            self._out.copy_(self._field.render(self._in))

    def _on_cuda(self, cuda: ModuleType) -> None:
        """Capture the work in a graph; the same stream as for longer chunks keeps them in order."""
        self._wait = cuda.current_stream().synchronize
        try:
            self._work = _captured(cuda, self._compute)
        except RuntimeError as error:
            log.warning("engine torch: no CUDA graph, which makes it slower: %s", error)


def _captured(cuda: ModuleType, work: Callable[[], None]) -> Callable[[], None]:
    """Capture what ``work`` launches, and give what launches it all at once."""
    # Libraries choose algorithms and take memory on first use, which must not be captured.
    side = cuda.Stream()
    side.wait_stream(cuda.current_stream())
    with cuda.stream(side):
        for _ in range(_WARM_UP):
            work()
    cuda.current_stream().wait_stream(side)
    cuda.synchronize()
    graph = cuda.CUDAGraph()
    with cuda.graph(graph):
        work()
    return graph.replay


def _nothing() -> None:
    """Nothing to wait for: the CPU has computed when the call returns."""


def _parts(ld: FloatArray) -> list[FloatArray]:
    return [ld[i : i + _BLOCK] for i in range(0, len(ld), _BLOCK)]


@contextmanager
def _exact(torch: ModuleType) -> Iterator[None]:
    """No gradients, and float32 products that are float32: TF32 keeps three digits.

    The host process may have allowed TF32 for work of its own, so its choice is put back.
    """
    matmul = torch.backends.cuda.matmul
    # The older name is deprecated where there is the newer one.
    name, exact = (
        ("fp32_precision", "ieee")
        if hasattr(matmul, "fp32_precision")
        else (
            "allow_tf32",
            False,
        )
    )
    before = getattr(matmul, name)
    if before != exact:
        setattr(matmul, name, exact)
    try:
        with torch.inference_mode():
            yield
    finally:
        if before != exact:
            setattr(matmul, name, before)


def _import_torch() -> ModuleType:
    try:
        import torch
    except ImportError as error:
        raise EngineError(
            "engine torch: torch is not installed or does not load: pip install "
            f"'emag-rt[calibrate]', or a CUDA build of torch from pytorch.org ({error})."
        ) from error
    return torch


def _choose(torch: ModuleType, wanted: str | None) -> Device:
    """The device to run on: CUDA where it is asked for or works."""
    if wanted not in (None, "cpu", "cuda"):
        raise EngineError(f"engine torch: device must be 'cuda' or 'cpu', got {wanted!r}.")
    if wanted == "cpu":
        return torch.device("cpu")
    why = _why_no_cuda(torch)
    if not why:
        return torch.device("cuda", torch.cuda.current_device())
    if wanted == "cuda":
        raise EngineError(
            f"engine torch: must run on CUDA, but {why}. Install a driver and a CUDA build of "
            "torch, see emag-rt doctor; or drop --require-gpu."
        )
    log.info("engine torch: runs on the CPU, because %s", why)
    return torch.device("cpu")


def _why_no_cuda(torch: ModuleType) -> str:
    """Why CUDA cannot be used, by using it; empty where it can."""
    if not torch.backends.cuda.is_built():
        return f"torch {torch.__version__} was built without CUDA"
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    try:
        ones = torch.ones((2, 2), device="cuda")
        return "" if float((ones @ ones).sum()) == 8.0 else "a product came out wrong"
    except RuntimeError as error:  # a device that is busy, or too old for this build
        return f"a product fails: {error}"

"""The ``onnx`` engine: the folded graph in ONNX Runtime, on the CPU or a GPU."""

from __future__ import annotations

import logging
import time

import numpy as np
import onnxruntime as ort

from emag_rt.array_types import Float32Array, FloatArray
from emag_rt.errors import EngineError
from emag_rt.render.gpu import has_nvidia_device
from emag_rt.render.history import History
from emag_rt.render.onnx_binding import BoundSample, Feeds
from emag_rt.render.onnx_graph import build_graph
from emag_rt.render.plan import RenderPlan

log = logging.getLogger(__name__)
_BLOCK = 4096
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def make_session(graph: bytes, provider: str, captured: bool = False) -> ort.InferenceSession:
    """Start a session on one provider.

    Parameters
    ----------
    graph : bytes
        A serialised model.
    provider : str
        ``CPUExecutionProvider`` or ``CUDAExecutionProvider``.
    captured : bool
        Capture the first run in a CUDA graph and replay it ever after: for bound tensors alone.

    Returns
    -------
    onnxruntime.InferenceSession
        A session that really runs there.

    Raises
    ------
    EngineError
        If the graph cannot be loaded, or the provider did not start (ONNX Runtime would fall
        back to the CPU without a word).
    """
    if provider not in ort.get_available_providers():
        raise EngineError(
            f"engine onnx: this ONNX Runtime must have {provider}, it was built without: pip "
            "uninstall onnxruntime, then pip install 'emag-rt[gpu]'."
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Failed providers are reported by the check below, in one line instead of a screenful.
    options.log_severity_level = 4
    # TF32 keeps three digits of a product.
    cuda = {"use_tf32": "0", "enable_cuda_graph": "1" if captured else "0"}
    providers = [(provider, cuda if provider == CUDA else {})]
    try:
        session = ort.InferenceSession(graph, options, providers=providers)
    except Exception as error:  # ONNX Runtime raises its own unrelated classes
        raise EngineError(f"engine onnx: the graph cannot be loaded: {error}") from error
    running = session.get_providers()[0]
    if running != provider:
        raise EngineError(
            f"engine onnx: {provider} must start, got {running}. Install the CUDA libraries "
            "(pip install 'emag-rt[gpu]') and a driver, see emag-rt doctor; or drop --require-gpu."
        )
    return session


class OnnxRenderer:
    """Folded rendering in ONNX Runtime.

    Parameters
    ----------
    plan : RenderPlan
        What to render.
    require_gpu : bool
        Fail unless the graph runs on CUDA.
    bound : bool
        Bind single samples where the graph runs on the CPU, too; on CUDA they always are.
    """

    def __init__(self, plan: RenderPlan, require_gpu: bool = False, bound: bool = False) -> None:
        op = self._op = plan.operator
        self._n_out = op.n_out
        self._n_positions = op.n_positions
        self._look_ahead = op.look_ahead
        self._n_context = op.n_context
        self._bound: BoundSample | None = None
        self._session = self._start(build_graph(op, plan.measured), require_gpu)
        self.name = "onnx-cuda" if self._session.get_providers()[0] == CUDA else "onnx-cpu"
        if bound and self._bound is None:
            self._bound = self._bind(self._session, "cpu")
        self._history = History(op.n_context, op.n_ld, np.float32)
        self.reset()

    def _start(self, graph: bytes, require_gpu: bool) -> ort.InferenceSession:
        """On CUDA where it must, or really starts and is quicker; else on the CPU."""
        if require_gpu:
            session = self._tried(make_session(graph, CUDA))
            self._bound = self._bound_on_cuda(graph, session)
            return session
        cpu = self._tried(make_session(graph, CPU))
        if not (CUDA in ort.get_available_providers() and has_nvidia_device()):
            return cpu
        try:
            cuda = self._tried(make_session(graph, CUDA))
        except EngineError as error:
            log.warning("a GPU is there, but ONNX Runtime cannot use it: %s", error)
            return cpu
        bound = self._bound_on_cuda(graph, cuda)
        seconds = [self._time(cpu, None), self._time(cuda, bound)]
        log.info("one sample takes %.1e s on the CPU, %.1e s on CUDA", *seconds)
        if seconds[0] <= seconds[1]:
            return cpu
        self._bound = bound
        return cuda

    def _bound_on_cuda(self, graph: bytes, plain: ort.InferenceSession) -> BoundSample | None:
        """One sample from device memory, as a CUDA graph if it can be captured."""
        for captured in (True, False):
            try:
                # A session that captures runs one shape alone: longer chunks need the plain one.
                session = make_session(graph, CUDA, captured=True) if captured else plain
                return self._bind(session, "cuda", plain)
            except Exception as error:  # ONNX Runtime raises its own unrelated classes
                how = "a CUDA graph of it" if captured else "tensors bound on the GPU"
                log.warning("engine onnx: one sample must do without %s: %s", how, error)
        return None

    def _bind(
        self, session: ort.InferenceSession, device: str, plain: ort.InferenceSession | None = None
    ) -> BoundSample:
        bound = BoundSample(session, self._op, device)
        bound.check(plain or session, self._op)
        return bound

    def _one_sample(self) -> Feeds:
        rows = np.zeros((self._n_context + 1, self._op.n_ld), dtype=np.float32)
        feeds: Feeds = {"ld": rows}
        if self._n_positions > 1:
            feeds["position"] = np.zeros(1, dtype=np.int64)
        return feeds

    def _time(self, session: ort.InferenceSession, bound: BoundSample | None) -> float:
        feeds = self._one_sample()
        took = []
        for _ in range(30):
            start = time.perf_counter()
            if bound is not None:
                bound.run(feeds)
            else:
                session.run(None, feeds)
            took.append(time.perf_counter() - start)
        return float(np.median(took))

    def _tried(self, session: ort.InferenceSession) -> ort.InferenceSession:
        """The session, once it has run: a library that CUDA needs may be missing only then."""
        try:
            session.run(None, self._one_sample())
        except Exception as error:  # ONNX Runtime raises its own unrelated classes
            raise EngineError(f"engine onnx: the graph cannot run: {error}") from error
        return session

    def reset(self) -> None:
        """Forget the context."""
        self._history.reset()
        self._position = -self._look_ahead

    def advance(self, ld: FloatArray) -> None:
        """Take samples into the context without rendering them."""
        self._history.append(ld)
        self._position += len(ld)

    def prepare(self) -> None:
        """There is nothing to do ahead."""

    def push(self, ld: FloatArray) -> Float32Array:
        """Render; see :meth:`emag_rt.render.plan.Renderer.push`."""
        if len(ld) <= _BLOCK:
            return self._push(ld)
        blocks = [self._push(ld[i : i + _BLOCK]) for i in range(0, len(ld), _BLOCK)]
        return np.concatenate(blocks)

    def _push(self, ld: FloatArray) -> Float32Array:
        if len(ld) == 0:
            return np.zeros((0, self._n_out), dtype=np.float32)
        feeds: Feeds = {"ld": self._history.append(ld).astype(np.float32, copy=False)}
        if self._n_positions > 1:
            place = self._position + np.arange(len(ld), dtype=np.int64)
            feeds["position"] = place % self._n_positions
        self._position += len(ld)
        if self._bound is not None and len(ld) == 1:
            return self._bound.run(feeds)
        (hd,) = self._session.run(None, feeds)
        return np.asarray(hd, dtype=np.float32)

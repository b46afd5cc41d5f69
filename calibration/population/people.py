"""The population: what many people's heads look like at some places, with lags, and its file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as save_tensors

from calibration.baselines.mne import sphere_covariance
from emag_rt.array_types import FloatArray
from emag_rt.core.montage import Montage
from emag_rt.errors import CalibrationError
from emag_rt.files import replacing

ADULT = "adult"
"""The population in the package."""
_FOLDER = Path(__file__).parent
_SUFFIX = ".safetensors"
_FORMAT = "1"
_MAX_BYTES = 256 << 20
_TEXTS = ("name", "dataset", "licence", "attribution", "command", "people", "runs", "made_with")
# People further from the mean than this many times the usual distance count for less.
_REACH = 1.5
SPHERE_SHARE = 0.1
"""Of what is expected: a head that is like nobody's is better rendered as a plain sphere."""
_ROUNDS = 10


@dataclass(frozen=True, eq=False)
class Population:
    """Many people's lagged covariances at the same places.

    Attributes
    ----------
    places : Montage
        Where, origin at the centre of the head sphere.
    origin_mm : ndarray, shape (3,)
        That centre in MNE's head frame.
    radius_mm : float
        Radius of the sphere.
    sfreq : float
        Rate in Hz; one lag is ``1 / sfreq``.
    band_hz : tuple of (float, float)
        Pass band of the causal front end that the signals went through.
    covariances : ndarray, shape (n_people, n_lags, n_places, n_places), float64
        ``E[x(t) x(t - l)^T]`` of each person, relative to the average, of mean variance one.
    amplitudes_uv : ndarray, shape (n_people,), float64
        What one is, in µV.
    texts : dict of str to str
        Where it comes from: ``name``, ``dataset``, ``licence``, ``attribution``, ``people``,
        ``runs``, ``command``, ``made_with``.
    """

    places: Montage
    origin_mm: FloatArray
    radius_mm: float
    sfreq: float
    band_hz: tuple[float, float]
    covariances: FloatArray
    amplitudes_uv: FloatArray
    texts: dict[str, str]

    def __post_init__(self) -> None:
        n_people, n = len(self.amplitudes_uv), len(self.places)
        if n_people < 3 or self.covariances.shape != (n_people, self.n_lags, n, n):
            raise CalibrationError(
                f"population must hold at least 3 people with covariances (n_people, n_lags, {n}, "
                f"{n}), got {n_people} with {self.covariances.shape}."
            )

    @property
    def name(self) -> str:
        """What it is called."""
        return self.texts.get("name", "")

    @property
    def n_people(self) -> int:
        """How many people."""
        return len(self.amplitudes_uv)

    @property
    def n_lags(self) -> int:
        """Lags, the present included."""
        return int(self.covariances.shape[1])

    @property
    def amplitude_uv(self) -> float:
        """Amplitude of the usual person, in µV: the geometric mean."""
        return float(np.exp(np.log(self.amplitudes_uv).mean()))

    @cached_property
    def sphere(self) -> FloatArray:
        """Covariances of a plain sphere full of sources, that go on in time as people's do.

        Shape (n_lags, n_places, n_places), relative to the average, of mean variance one.
        """
        n = len(self.places)
        centre = np.eye(n) - 1.0 / n
        now = centre @ sphere_covariance(self.places.positions_mm) @ centre
        later = np.trace(self.covariances, axis1=2, axis2=3).mean(axis=0)
        return np.asarray(later[:, None, None] * now / np.trace(now))

    def mean(self, without: int | None = None) -> FloatArray:
        """Mean covariances, (n_lags, n_places, n_places), that no single person can drag away.

        Parameters
        ----------
        without : int, optional
            Person to leave out.

        Returns
        -------
        ndarray, shape (n_lags, n_places, n_places)
            People much further from it than others count for less, as Huber has it; a tenth of it
            is that of a sphere.
        """
        kept = [i for i in range(self.n_people) if i != without]
        people = robust_mean(self.covariances[kept])
        return (1.0 - SPHERE_SHARE) * people + SPHERE_SHARE * self.sphere

    def spread(self) -> FloatArray:
        """Standard deviation between people of every covariance, (n_lags, n_places, n_places)."""
        return np.asarray(self.covariances.std(axis=0, ddof=1))


def robust_mean(people: FloatArray) -> FloatArray:
    """Mean over the first axis, those beyond 1.5 times the median distance counting for less."""
    return np.asarray(np.tensordot(robust_weights(people), people, 1))


def robust_weights(people: FloatArray) -> FloatArray:
    """How much each of the first axis counts in :func:`robust_mean`; they sum to one."""
    weights = np.full(len(people), 1.0 / len(people))
    for _ in range(_ROUNDS):
        mean = np.tensordot(weights, people, 1)
        distance = np.sqrt(((people - mean) ** 2).reshape(len(people), -1).sum(axis=1))
        far = distance / max(_REACH * float(np.median(distance)), 1e-300)
        weights = 1.0 / np.maximum(far, 1.0)
        weights /= weights.sum()
    return np.asarray(weights)


def population_names() -> tuple[str, ...]:
    """Populations in the package; their networks have another dot in the name."""
    return tuple(sorted(p.stem for p in _FOLDER.glob(f"*{_SUFFIX}") if "." not in p.stem))


def population_path(name: str) -> Path:
    """File of a population in the package, or the one that is named itself."""
    return _FOLDER / f"{name}{_SUFFIX}" if name in population_names() else Path(name)


def load_population(name: str = ADULT, option: str = "--population") -> Population:
    """Read a population.

    Parameters
    ----------
    name : str
        One of the package (``adult``), or a file that ``tools.studies.population`` made.
    option : str
        What it was named by.

    Returns
    -------
    Population
        Checked.

    Raises
    ------
    CalibrationError
        If there is none of that name, or the file is damaged.
    """
    path = population_path(name)
    if not path.is_file():
        raise CalibrationError(
            f"{option} must be one of {', '.join(population_names())}, or a file that "
            f"`python -m tools.studies.population` made, got {name!r}."
        )
    if path.stat().st_size > _MAX_BYTES:
        raise CalibrationError(f"population {name}: must be at most {_MAX_BYTES >> 20} MiB.")
    try:
        with safe_open(path, framework="numpy") as file:
            texts = dict(file.metadata() or {})
            tensors = {key: file.get_tensor(key).astype(np.float64) for key in file.keys()}  # noqa: SIM118
        if texts.pop("format", "") != _FORMAT:
            raise ValueError("of another format")
        if not all(np.isfinite(value).all() for value in tensors.values()):
            raise ValueError("numbers that are not finite")
        low, high = tensors["band_hz"]
        return Population(
            places=Montage(tuple(json.loads(texts.pop("labels"))), tensors["positions_mm"]),
            origin_mm=tensors["origin_mm"],
            radius_mm=float(tensors["radius_mm"][0]),
            sfreq=float(tensors["sfreq"][0]),
            band_hz=(float(low), float(high)),
            covariances=tensors["covariances"],
            amplitudes_uv=tensors["amplitudes_uv"],
            texts={key: texts.get(key, "") for key in _TEXTS},
        )
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise CalibrationError(
            f"population {name}: the file must be as `python -m tools.studies.population` made it "
            f"({error}). Make it again."
        ) from error


def save_population(population: Population, path: str | Path, option: str = "--out") -> None:
    """Write a population; covariances in half precision, which costs no accuracy.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    tensors = {
        "positions_mm": population.places.positions_mm,
        "origin_mm": population.origin_mm,
        "radius_mm": np.array([population.radius_mm]),
        "sfreq": np.array([population.sfreq]),
        "band_hz": np.array(population.band_hz),
        "covariances": population.covariances.astype(np.float16),
        "amplitudes_uv": population.amplitudes_uv,
    }
    texts = {key: population.texts.get(key, "") for key in _TEXTS}
    labels = json.dumps(list(population.places.labels))
    blob = save_tensors(tensors, {**texts, "labels": labels, "format": _FORMAT})
    with replacing(path, option) as beside:
        beside.write_bytes(blob)

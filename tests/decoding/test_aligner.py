"""A decoder of measured HD reads rendered HD, from the first epoch, in any reference."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("pyriemann")

from pyriemann.geometry.covariance import covariances
from pyriemann.tangentspace import TangentSpace
from scipy.signal import butter, sosfiltfilt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from calibration.regression.cross_spectra import fit_cross_spectra
from emag_rt.decoding import AlignedEpochs, Aligner
from emag_rt.errors import BundleError, MontageError, SettingsError
from tests.factories import LD, REST, make_bundle

N_LD, N_HD, N_TIMES = len(LD), len(LD) + len(REST), 400
BAND = butter(4, (8, 30), "bandpass", fs=200.0, output="sos")


class World:
    """Two classes by the power of two sources; half of what is not LD cannot be rendered."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.mix = self.rng.normal(size=(N_HD, N_LD)) * np.geomspace(20, 5, N_LD)
        self.unseen = 40 * self.rng.normal(size=(len(REST), len(REST)))

    def noise(self, n, n_sources):
        """Sources from 8 to 30 Hz, of power 1."""
        white = self.rng.normal(size=(n, n_sources, N_TIMES))
        return sosfiltfilt(BAND, white) / np.sqrt(0.22)

    def epochs(self, n):
        """Measured and rendered, shape (n, N_HD, N_TIMES) in µV, and the classes."""
        kinds = np.arange(n) % 2
        powers = np.ones((n, N_LD, 1))
        powers[kinds == 1, 4], powers[kinds == 0, 5] = 1.4, 1.4
        rendered = self.mix @ (powers * self.noise(n, N_LD))
        measured = rendered.copy()
        measured[:, N_LD:] += self.unseen @ self.noise(n, len(REST))
        return measured, rendered, kinds

    def bundle(self, **changes):
        """With a map that was fitted to other epochs."""
        bundle = make_bundle(1)
        sides = []
        for x in self.epochs(60)[:2]:
            flat = x.transpose(0, 2, 1).reshape(-1, N_HD)
            sides.append(flat - flat[:, :N_LD].mean(axis=1, keepdims=True))
        spectra = fit_cross_spectra([sides[0]], [sides[1]], bundle.manifest.sfreq, 45.0)
        return replace(bundle, cross_spectra=spectra, **changes)


@pytest.fixture(scope="module")
def world():
    return World()


@pytest.fixture(scope="module")
def bundle(world):
    return world.bundle()


def decoder():
    return make_pipeline(TangentSpace(), LogisticRegression())


def test_a_decoder_of_measured_epochs_reads_rendered_ones(world, bundle):
    measured, _, kinds = world.epochs(80)
    _, rendered, wanted = world.epochs(60)
    plain = decoder().fit(covariances(measured, estimator="oas"), kinds)
    assert plain.score(covariances(rendered, estimator="oas"), wanted) < 0.7
    aligner = Aligner(bundle).fit(measured)
    found = aligner.measured(measured)
    assert found.shape == (80, N_LD, N_LD)
    trained = decoder().fit(found, kinds)
    first = aligner.rendered(rendered[:20], follow=False)
    assert trained.score(first, wanted[:20]) > 0.85, "calibration alone tells where to begin"
    assert trained.score(aligner.rendered(rendered), wanted) > 0.85


def test_epochs_one_by_one_give_what_they_give_together(world, bundle):
    rendered = world.epochs(6)[1]
    together, single = Aligner(bundle), Aligner(bundle)
    one_by_one = [single.rendered(epoch[None])[0] for epoch in rendered]
    np.testing.assert_allclose(one_by_one, together.rendered(rendered))
    assert single.n_seen == 8
    still = single.rendered(rendered, follow=False)
    np.testing.assert_allclose(single.rendered(rendered, follow=False), still)
    updated = Aligner(bundle)
    updated.update(rendered)
    np.testing.assert_allclose(updated.rendered_mean, single.rendered_mean)
    single.reset()
    np.testing.assert_allclose(single.rendered(rendered), Aligner(bundle).rendered(rendered))


def test_the_rendered_side_follows_a_change_and_forgets_what_was_before(world, bundle):
    rendered = world.epochs(40)[1]
    quick, slow = Aligner(bundle, memory=5), Aligner(bundle, memory=1e9)
    for aligner in (quick, slow):
        aligner.update(rendered)
        aligner.update(3 * rendered[:20])
    loud = np.trace(Aligner(bundle, memory=1).rendered_mean) * 9
    assert np.trace(quick.rendered_mean) > 0.7 * loud
    assert np.trace(slow.rendered_mean) < 0.5 * loud
    last = Aligner(bundle, memory=1)
    last.update(rendered[:3])
    np.testing.assert_allclose(last.rendered(rendered[3:4]), np.eye(N_LD)[None], atol=1e-8)


@pytest.mark.parametrize("kind", [Aligner, AlignedEpochs])
def test_any_reference_and_any_order_of_channels(world, bundle, kind):
    measured, rendered, _ = world.epochs(4)
    shift = 50 * world.rng.normal(size=(4, 1, N_TIMES))
    order = world.rng.permutation(N_HD)
    names = [bundle.manifest.hd[i].label.upper() for i in order]
    wanted, other = kind(bundle).fit(measured), kind(bundle)
    other.fit((measured + shift)[:, order], names)
    for side in ("measured", "rendered"):
        epochs = {"measured": measured, "rendered": rendered}[side]
        found = getattr(other, side)((epochs + shift)[:, order], names)
        np.testing.assert_allclose(found, getattr(wanted, side)(epochs), atol=1e-8)


def test_signals_have_the_aligned_covariance(world, bundle):
    measured, rendered, _ = world.epochs(30)
    as_signals, as_matrices = AlignedEpochs(bundle).fit(measured), Aligner(bundle).fit(measured)
    signals = as_signals.measured(measured)
    assert signals.shape == (30, N_LD, N_TIMES)
    np.testing.assert_allclose(np.cov(np.hstack(signals)), np.eye(N_LD), atol=0.1)
    for side, epochs in (("measured", measured), ("rendered", rendered)):
        signals = getattr(as_signals, side)(epochs)
        matrices = getattr(as_matrices, side)(epochs)
        # OAS pulls to a sphere, a little.
        np.testing.assert_allclose([np.cov(s) for s in signals], matrices, atol=0.25)


def test_it_goes_on_from_a_file(world, bundle, tmp_path):
    measured, rendered, _ = world.epochs(6)
    aligner = Aligner(bundle, (6, 20), memory=12).fit(measured)
    aligner.update(rendered)
    aligner.save(tmp_path / "s01.safetensors")
    again = Aligner.load(tmp_path / "s01.safetensors", bundle)
    assert (again.band, again.memory, again.n_seen) == ((6, 20), 12, 8)
    np.testing.assert_array_equal(again.measured(measured), aligner.measured(measured))
    np.testing.assert_array_equal(again.rendered(rendered), aligner.rendered(rendered))
    # On a machine whose linear algebra turns the directions around.
    turned = Aligner(bundle, (6, 20))
    turn = np.linalg.qr(world.rng.normal(size=(N_LD, N_LD)))[0]
    turned._look_through(turn @ turned.filters)
    turned.save(tmp_path / "turned")
    again = Aligner.load(tmp_path / "turned", bundle)
    np.testing.assert_array_equal(again.rendered(rendered), turned.rendered(rendered))
    with pytest.raises(BundleError, match="with the bundle it was made with"):
        Aligner.load(tmp_path / "s01.safetensors", World(seed=1).bundle())
    (tmp_path / "cut").write_bytes((tmp_path / "s01.safetensors").read_bytes()[:-9])
    for name in ("cut", "nobody"):
        with pytest.raises(BundleError, match=r"must be a file that Aligner\.save wrote"):
            Aligner.load(tmp_path / name, bundle)
    aligner.rendered_mean = -aligner.rendered_mean
    aligner.save(tmp_path / "negative")
    with pytest.raises(BundleError, match="no covariances"):
        Aligner.load(tmp_path / "negative", bundle)


def test_what_was_bad_in_calibration_is_not_read(world, bundle):
    hd = list(bundle.manifest.hd)
    hd[10] = hd[10].model_copy(update={"bad": True})
    good = [i for i in range(N_HD) if i != 10]
    upper = np.triu_indices(N_HD)
    kept = np.isin(upper, good).all(axis=0)
    spectra = bundle.cross_spectra
    spectra = replace(
        spectra, measured=spectra.measured[:, kept], rendered=spectra.rendered[:, kept]
    )
    manifest = bundle.manifest.model_copy(update={"hd": hd})
    aligner = Aligner(replace(bundle, manifest=manifest, cross_spectra=spectra))
    assert len(aligner.labels) == N_HD - 1
    measured, rendered, _ = world.epochs(3)
    wanted = aligner.fit(measured).rendered(rendered, follow=False)
    rendered[:, 10] = np.nan
    np.testing.assert_array_equal(aligner.rendered(rendered, follow=False), wanted)


def test_what_does_not_fit_is_named(world, bundle):
    aligner = Aligner(bundle)
    measured = world.epochs(2)[0]
    names = [e.label for e in bundle.manifest.hd]
    with pytest.raises(SettingsError, match=r"19 channels, those of bundle .*, got 18"):
        aligner.rendered(measured[:, 1:])
    with pytest.raises(SettingsError, match=r"19 channels, named .*, got 18"):
        aligner.fit(measured[:, 1:], names)
    with pytest.raises(MontageError, match=rf"missing {names[0]}, {names[1]};"):
        aligner.measured(measured[:, 2:], names[2:])
    with pytest.raises(SettingsError, match=r"\(n_epochs, n_channels, n_times\), got \(19, 400\)"):
        aligner.rendered(measured[0])
    lost = measured.copy()
    lost[1, [3, 9], 7] = np.nan, np.inf
    with pytest.raises(SettingsError, match=f"not in {names[3]}, {names[9]}"):
        aligner.update(lost)
    lost = measured.copy()
    lost[1] = 5.0
    with pytest.raises(SettingsError, match="number 1 is constant"):
        aligner.rendered(lost)
    with pytest.raises(SettingsError, match="memory must be at least 1"):
        Aligner(bundle, memory=0)
    with pytest.raises(SettingsError, match="band must be"):
        Aligner(bundle, (8, 200))


def test_bundles_that_do_not_know_their_renderings_say_why(bundle):
    with pytest.raises(BundleError, match="older version"):
        Aligner(replace(bundle, cross_spectra=None))
    facts = {"calibration": {"hd_measured": False}}
    nobody = bundle.manifest.model_copy(update=facts)
    with pytest.raises(BundleError, match=r"never measured .*--train-like-served"):
        Aligner(replace(bundle, manifest=nobody, cross_spectra=None))
    spectra = bundle.cross_spectra
    for side, message in (("rendered", "power in 8 to 30 Hz"), ("measured", "power in the band")):
        silent = replace(spectra, **{side: 0 * getattr(spectra, side)})
        with pytest.raises(BundleError, match=rf"{message}, they have none"):
            Aligner(replace(bundle, cross_spectra=silent))

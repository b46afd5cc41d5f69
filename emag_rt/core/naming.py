"""Names that a user gives to a source's channels, where it does not name them itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emag_rt.core.labels import canonical
from emag_rt.errors import MontageError

NAMING_REMEDY = (
    "Name the channels at the source, or say which they are: --headset NAME (see emag-rt "
    "headsets), or --channels A,B,... for each of them, in its order"
)


@dataclass(frozen=True)
class ChannelNames:
    """What a source's channels are called.

    Attributes
    ----------
    title : str
        Where the names come from, for messages.
    channels : tuple of str
        Names in the order in which the source sends them.
    sends : tuple of str
        What the source calls them where that differs; empty: the same, or nothing.
    not_eeg : tuple of str
        Those of ``channels`` that are not EEG.
    unit : str
        Unit where the source declares none.
    complete : bool
        Whether each channel of the source is named. A headset's may be followed by others.
    """

    title: str
    channels: tuple[str, ...]
    sends: tuple[str, ...] = ()
    not_eeg: tuple[str, ...] = ()
    unit: str = "microvolts"
    complete: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """The EEG channels."""
        return tuple(label for label in self.channels if label not in self.not_eeg)

    def electrode_of(self, sent: str) -> str | None:
        """The electrode that the source calls ``sent``; None where it is not one of these."""
        for names in (self.sends or self.channels, self.channels):
            for name, channel in zip(names, self.channels, strict=True):
                if canonical(name) == canonical(sent):
                    return channel
        return None

    def name(self, sent: Sequence[str], n_channels: int, who: str, notes: list[str]) -> list[str]:
        """A label for each channel of a source; by order only where it names none of these.

        Parameters
        ----------
        sent : sequence of str
            What the source calls its channels; fewer than them where it describes only some.
        n_channels : int
            How many they are.
        who : str
            Names the source in messages.
        notes : list of str
            Gets what was assumed.

        Returns
        -------
        list of str
            ``n_channels`` labels.

        Raises
        ------
        MontageError
            If the source's own names contradict these, or the numbers do not fit.
        """
        if self.complete:
            self._require_fit(sent, n_channels, who)
            notes.append(f"channels named in order by {self.title}: {_pairs(sent, self.channels)}")
            return list(self.channels)
        known = [self.electrode_of(label) for label in sent]
        found = {label for label in known if label}
        if found >= set(self.labels) and len(sent) == n_channels:
            if any(a != b for a, b in zip(sent, known, strict=True) if b):
                notes.append(f"channels named by {self.title}: {_pairs(sent, known)}")
            return [b or a for a, b in zip(sent, known, strict=True)]
        if found:  # in order would be another electrode for each
            lacking = [label for label in self.labels if label not in found]
            raise MontageError(
                f"{who}: must send every EEG channel of {self.title}, {len(lacking)} of "
                f"{len(self.labels)} are lacking: {', '.join(lacking[:8])}"
                f"{', ...' if len(lacking) > 8 else ''}. Choose the headset that it is (see "
                "emag-rt headsets), or leave --headset out, if the source's labels are right."
            )
        n_named = len(self.channels)
        if n_channels < n_named:
            raise MontageError(
                f"{who}: must have the {n_named} channels of {self.title}, got {n_channels}. "
                "Choose another headset (see emag-rt headsets)."
            )
        notes.append(
            f"the first {n_named} channels are taken to be those of {self.title}, in order"
            + (f"; the source calls them {', '.join(sent[:3])}, ..." if sent else "")
        )
        rest = [
            sent[i] if i < len(sent) and sent[i] not in self.channels else f"channel {i + 1}"
            for i in range(n_named, n_channels)
        ]
        return [*self.channels, *rest]

    def _require_fit(self, sent: Sequence[str], n_channels: int, who: str) -> None:
        given = [canonical(label) for label in self.channels]
        if len(given) != n_channels:
            raise MontageError(
                f"{who}: {self.title} must name each of its {n_channels} channels in order, got "
                f"{len(given)} names." + (f" It calls them {', '.join(sent[:40])}." if sent else "")
            )
        own = [canonical(label) for label in sent]
        if len(own) == n_channels:
            wrong = [i for i, label in enumerate(own) if label in given and label != given[i]]
        else:  # some are not described: the order of the others can be told
            places = [given.index(label) for label in own if label in given]
            wrong = [0] if places != sorted(places) else []
        if wrong:
            raise MontageError(
                f"{who}: {self.title} must not contradict the source, which names its channels "
                f"in another order: {', '.join(sent[:40])}. Leave {self.title} out, or mend it."
            )


def _pairs(sent: Sequence[str], names: Sequence[str | None]) -> str:
    if len(sent) != len(names):
        return ", ".join(name or "" for name in names)
    return ", ".join(f"{a} {b}" for a, b in zip(sent, names, strict=True) if b and a != b)

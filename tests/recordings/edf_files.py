"""Small EDF files, also interrupted ones, with channels of several rates."""

import numpy as np

PHYSICAL = 3000.0


def write_edf(path, channels, sfreq, *, rates=None, onsets=None, marks=(), encoding="utf-8"):
    """Write records of one second.

    ``channels``: label to µV; ``rates``: Hz of those that differ; ``onsets``: of each record in
    seconds, for an interrupted file (EDF+D); ``marks``: (onset, duration, text).
    """
    rates = {label: (rates or {}).get(label, sfreq) for label in channels}
    n_records = len(next(iter(channels.values()))) // next(iter(rates.values()))
    starts = np.arange(n_records) if onsets is None else onsets
    plus = onsets is not None or bool(marks)
    labels = [*channels, *(["EDF Annotations"] if plus else [])]
    counts = [*rates.values(), *([200] if plus else [])]
    kind = "" if not plus else "EDF+C" if onsets is None else "EDF+D"
    fields = [
        ("0", 8),
        ("X X X X", 80),
        ("Startdate X X X X", 80),
        ("01.01.26", 8),
        ("00.00.00", 8),
    ]
    fields += [(str(256 * (len(labels) + 1)), 8), (kind, 44), (str(n_records), 8), ("1", 8)]
    fields += [(str(len(labels)), 4)]
    limits = [str(-PHYSICAL), str(PHYSICAL), "-32768", "32767"]
    columns = [(labels, 16), ([""] * len(labels), 80), (["uV"] * len(channels) + [""] * plus, 8)]
    columns += [([limit] * len(labels), 8) for limit in limits]
    columns += [([""] * len(labels), 80), (map(str, counts), 8), ([""] * len(labels), 32)]
    header = "".join(f"{text:<{width}}" for text, width in fields)
    header += "".join(f"{text:<{width}}" for texts, width in columns for text in texts)
    with path.open("wb") as file:
        file.write(header.encode("latin-1"))
        for record, start in enumerate(starts):
            for label, values in channels.items():
                part = values[record * rates[label] : (record + 1) * rates[label]]
                steps = np.round((part + PHYSICAL) / (2 * PHYSICAL) * 65535 - 32768)
                file.write(steps.astype("<i2").tobytes())
            if plus:
                text = f"+{start:g}\x14\x14\x00"
                own = [m for m in marks if record == max(0, int((starts <= m[0]).sum()) - 1)]
                text += "".join(f"+{t:g}\x15{d:g}\x14{said}\x14\x00" for t, d, said in own)
                file.write(text.encode(encoding).ljust(400, b"\x00"))

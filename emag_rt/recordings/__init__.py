"""EEG on disk and in simulation: reading, writing, a synthetic head.

Volts become microvolts here, metres millimetres, and MNE's messages log records. This package
imports MNE, so nothing on the way of ``emag-rt serve`` may import it.
"""

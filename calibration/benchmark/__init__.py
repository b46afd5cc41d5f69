"""The paper's protocol and ours over the subjects of a dataset, with every baseline.

:func:`calibration.benchmark.run.run_benchmark` does the work, resumable and in parallel;
:mod:`calibration.benchmark.tables` writes it down. ``tools/paper_benchmark.py`` is the command.
"""

"""The paper's protocol and ours over the subjects of a dataset, with every baseline.

:func:`tools.studies.benchmark.run.run_benchmark` does the work, resumable and in parallel;
:mod:`tools.studies.benchmark.report` writes it down. ``tools/studies/paper_benchmark.py`` is the
command.
"""

"""The paper's protocol and ours over the subjects of a dataset, with every baseline.

``python -m tools.studies.paper_benchmark`` is the command: resumable and in parallel
(:mod:`tools.studies.paper_benchmark.subjects`), with tables at the end
(:mod:`tools.studies.paper_benchmark.report`).
"""

"""The calibration report: one HTML file that says what to trust, and shows why.

:func:`calibration.report.write.report_of_calibration` and ``report_of_bundle`` make it:
``evidence`` is what it rests on, ``verdict`` holds the rules in plain language, ``quality``,
``scores``, ``curves``, ``better_set`` and ``gaussians`` the numbers, ``heads``, ``signals`` and
``around_events`` the figures, ``page`` and ``one_file``, ``player`` and ``viewer`` the page.
"""

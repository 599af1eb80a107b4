"""``python -m jchannel demo``: Python reads a CSV file, and a page draws it and calls Python for values meanwhile.

Begin with ``show``. ``table`` reads the file, ``handlers`` answers the page, and ``page/`` is the page itself.
``stand_in`` is a Python peer that makes the page's calls where there is no browser. ``latency`` measures calls,
``chromium`` takes the picture of a page without a window, ``surroundings`` looks for a display, and ``report`` prints.
"""
